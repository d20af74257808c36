PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
PARALLEL := --numprocesses=auto --dist=loadfile

.PHONY: train test check lint audit fuzz bench reproduce
.DELETE_ON_ERROR:

train: .venv/run        ## train the book's network on MNIST, or on the embedded digits without a connection
	$(BIN)/python -m nnjax train $(ARGS)

test: .venv/dev         ## the fast tests, within 5 minutes on 2 cores
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

check: test             ## the fast and the slow tests
	$(BIN)/python -m pytest $(PARALLEL) -m slow $(ARGS)

lint: .venv/dev         ## style, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

audit: .venv/audit      ## known vulnerabilities of the installed packages, if the database can be reached
	$(BIN)/python .ci/audit.py

fuzz: .venv/fuzz        ## fuzz model files and pictures, a minute each, or ARGS=-max_total_time=600
	$(BIN)/python -m fuzz models -max_total_time=60 $(ARGS)
	$(BIN)/python -m fuzz pictures -max_total_time=60 $(ARGS)

bench: .venv/bench      ## every benchmark but the one for GPUs; an hour on idle cores
	$(BIN)/python -m benchmarks.epoch
	$(BIN)/python -m benchmarks.population
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.time_to_accuracy
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.config
	$(BIN)/python -m benchmarks.compare
	$(BIN)/python -m benchmarks.devices

reproduce: .venv/experiments ## the chapter's experiments and the report; 2.5 hours without the ladder, or ARGS=--quick
	$(BIN)/python -m experiments $(ARGS)

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/run: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/experiments: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[experiments]"
	touch $@ .venv/run

.venv/bench: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[bench]"
	touch $@ .venv/run .venv/experiments

.venv/audit: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[audit]"
	touch $@ .venv/run

.venv/fuzz: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[fuzz]"
	touch $@ .venv/run

.venv/dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@ .venv/run .venv/experiments
