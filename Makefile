PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
PARALLEL := --numprocesses=auto --dist=loadfile

.PHONY: train test check lint audit fuzz bench reproduce docs package
.DELETE_ON_ERROR:

train: .venv/run        ## train the book's network on MNIST, or on the embedded digits without a connection
	$(BIN)/python -m nnjax train $(ARGS)

test: .venv/dev         ## the fast tests, within 5 minutes on 2 cores
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

check: test             ## the fast and the slow tests
	$(BIN)/python -m pytest $(PARALLEL) -m slow $(ARGS)

lint: .venv/dev         ## style, types, import layers, workflows and citation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --quiet --offline .github/workflows

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
	$(BIN)/python -m benchmarks.clusters

docs: .venv/docs        ## the documentation site, in docs/_build/html
	$(BIN)/sphinx-build --fail-on-warning --keep-going --jobs auto docs docs/_build/html

package: .venv/dev      ## the wheel and the source distribution, checked, in dist
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

reproduce: .venv/experiments ## the chapter's experiments and the report; 2.5 hours without the ladder, or ARGS=--quick
	$(BIN)/python -m experiments $(ARGS)

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/run: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[recognition]"
	touch $@

.venv/experiments: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[experiments]"
	touch $@ .venv/run

.venv/bench: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[bench]"
	touch $@ .venv/run .venv/experiments

.venv/docs: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@ .venv/run .venv/experiments

.venv/audit: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[audit]"
	touch $@

.venv/fuzz: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[fuzz]"
	touch $@ .venv/run

.venv/dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@ .venv/run .venv/experiments
