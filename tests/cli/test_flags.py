"""Flags, help, and the settings that `--config` names."""

import json
import re
import shlex
import signal
from dataclasses import fields, replace
from pathlib import Path

import pytest
import tyro

from nnjax.cli._flags import FromConfig, command_line, to_arguments, used_flags
from nnjax.cli._settings import Settings, load_settings
from nnjax.cli.signals import stop_after_epoch
from nnjax.cli.sweep import Sweep
from nnjax.cli.train import Train
from nnjax.config import TrainConfig, configs


def parse(command, *arguments):
    return tyro.cli(command, args=list(map(str, arguments)))


def config_of(*arguments):
    return parse(Train, *arguments).settings().config


@pytest.fixture
def help_text(run, capsys, monkeypatch):
    """The help of a subcommand, with single spaces and without boxes."""
    monkeypatch.setenv("COLUMNS", "120")

    def text(*arguments):
        assert run(*arguments, "--help") == 0
        return " ".join(re.sub("[│─╭╮╰╯]", " ", capsys.readouterr().out).split())

    return text


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_every_field_of_the_configuration_has_a_flag(help_text, command):
    text = help_text(command)
    for f in fields(TrainConfig):
        assert f" --{f.name.replace('_', '-')} " in text


def test_help_is_grouped_and_shows_no_meaningless_default(help_text):
    text = help_text("train")
    for group in ("model", "objective", "optimizer", "run", "storage", "device"):
        assert f"{group} options" in text
    assert "None" not in text
    assert "FromConfig" not in text


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_help_shows_the_values_of_the_configuration(help_text, command):
    for config, defaults in {
        "book": {"hidden": "30", "learning-rate": "3.0", "schedule": "constant", "epochs": "30"},
        "best-cpu": {"hidden": "128", "learning-rate": "0.002", "channels": "16 32", "augment": "default"},
    }.items():
        text = help_text(command, "--config", config)
        for flag, default in defaults.items():
            assert re.search(rf"--{flag} [^-]*[^(]*\(default: '?{default}'?\)", text), flag
    assert "(default: 0.002)" in help_text(command, "--config=best-cpu")


def test_help_of_an_unknown_configuration_is_an_error(run, capsys):
    assert run("train", "--config", "best", "--help") == 2
    assert "did you mean 'best-cpu'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "changes"),
    [
        (["--hidden", 20, 30], {"hidden": (20, 30)}),
        (["--hidden", "20x30"], {"hidden": (20, 30)}),
        (["--hidden", "none"], {"hidden": ()}),
        (["--channels", 2, 4], {"channels": (2, 4)}),
        (["--activation", "tanh"], {"activation": "tanh"}),
        (["--initial-weights", "he"], {"initial_weights": "he"}),
        (["--cost", "sigmoid_cross_entropy"], {"cost": "sigmoid_cross_entropy"}),
        (["--output-code", "is_digit(9)"], {"output_code": "is_digit(9)"}),
        (["--l1", "1e-4", "--l2", 0.5], {"l1": 1e-4, "l2": 0.5}),
        (["--dropout", 0.5, "--input-dropout", 0.25], {"dropout": 0.5, "input_dropout": 0.25}),
        (["--augment", "default"], {"augment": {}}),
        (["--augment"], {"augment": {}}),
        (["--augment", "translate=2", "rotate=0.5"], {"augment": {"translate": 2.0, "rotate": 0.5}}),
        (["--label-smoothing", 0.1], {"label_smoothing": 0.1}),
        (["--optimizer", "adam"], {"optimizer": "adam"}),
        (["--learning-rate", 0.5], {"learning_rate": 0.5}),
        (["--schedule", "linear"], {"schedule": "linear"}),
        (
            ["--hyperparameters", "momentum=0.9", "nesterov=True"],
            {"hyperparameters": {"momentum": 0.9, "nesterov": True}},
        ),
        (["--ema-decay", 0.99], {"ema_decay": 0.99}),
        (["--epochs", 3, "--batch-size", 20], {"epochs": 3, "batch_size": 20}),
    ],
)
def test_flags_change_the_configuration(flags, changes):
    assert config_of(*flags) == replace(TrainConfig(), **changes)


@pytest.mark.parametrize(
    ("flags", "changes"),
    [
        ([], {}),
        (["--epochs", 12, "--hidden", 256], {"epochs": 12, "hidden": (256,)}),
        (["--channels", "none", "--augment", "none"], {"channels": (), "augment": None}),
        (["--learning-rate", 0.01, "--ema-decay", "none"], {"learning_rate": 0.01, "ema_decay": None}),
    ],
)
def test_flags_override_a_named_configuration(flags, changes):
    assert config_of("--config", "best-cpu", *flags) == replace(configs["best-cpu"], **changes)


def test_another_optimizer_resets_learning_rate_and_hyperparameters(run, tmp_path):
    """The learning rate and the hyper-parameters of a configuration belong to its optimizer."""
    Path("c.toml").write_text(
        'optimizer = "adam"\nlearning_rate = 0.5\nepochs = 7\n[hyperparameters]\nb1 = 0.8\n'
    )
    for name, learning_rate in (("momentum", 0.1), ("adam", 0.003)):
        config = config_of("--config", "c.toml", "--optimizer", name)
        assert (config.used_learning_rate(), config.hyperparameters, config.epochs) == (learning_rate, {}, 7)
    config = config_of("--config", "c.toml", "--optimizer", "adam", "--learning-rate", 0.2)
    assert config.used_learning_rate() == 0.2
    config = config_of("--config", "c.toml", "--learning-rate", 0.2)
    assert (config.used_learning_rate(), config.hyperparameters) == (0.2, {"b1": 0.8})


def test_toml_and_json_files_set_configuration_data_set_and_seed(run):
    Path("c.toml").write_text('hidden = [20, 30]\nschedule = "cosine"\ndataset = "digits"\nseed = 5\n')
    expected = Settings(TrainConfig(hidden=(20, 30), schedule="cosine"), "digits", 5)
    assert load_settings("c.toml") == expected
    Path("record.json").write_text(json.dumps(expected.to_json() | {"history": {"train_cost": [0.5]}}))
    # A record has the learning rate that was used, so that another default does not change the training.
    expected = expected._replace(config=replace(expected.config, learning_rate=3.0))
    assert load_settings("record.json") == expected
    Path("flat.json").write_text(json.dumps({"dataset": "digits", "seed": 5, **expected.config.to_json()}))
    assert load_settings("flat.json") == expected
    changed = parse(Train, "--config", "record.json", "--seed", 6, "--dataset", "mnist").settings()
    assert changed == expected._replace(seed=6, dataset="mnist")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hidden = ", "must be a configuration in TOML or JSON: Invalid value"),
        (b"{", "must be a configuration in TOML or JSON: Expecting"),
        (b"{" * 10**5, "must be a configuration in TOML or JSON"),
        (b'{"a":' * 10**5, "must be a configuration in TOML or JSON"),
        (b"\xff\xfe", "must be a configuration in TOML or JSON: 'utf-8' codec"),
        (b"epoch = 3", "c.toml: field of a configuration must be one of .*: did you mean 'epochs'"),
        (b"epochs = 0", "c.toml: epochs must be a positive integer, got 0"),
        (b'{"config": [3]}', "must be a mapping from fields to values"),
        (b"seed = -1", "c.toml: seed must be an integer from 0"),
        (b'seed = "one"', "seed must be an integer from 0"),
        (b"dataset = 3", "dataset must be a name, got 3"),
    ],
)
def test_damaged_configuration_files_are_rejected(run, content, message):
    Path("c.toml").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_settings("c.toml")


def test_a_directory_is_not_a_configuration_file(run, tmp_path):
    with pytest.raises(ValueError, match=r"cannot read the configuration .*: Is a directory"):
        load_settings(str(tmp_path))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--hidden", "30", "20", "--no-save", "--learning-rate", "0.5", "--data-parallel"],
        ["--output-code", "is_digit(9)", "--checkpoint-dir", "a b", "--checkpoint-every-seconds", "2.5"],
        ["--config", "best-cpu", "--channels", "none", "--augment", "none", "--ema-decay", "none"],
        ["--augment", "translate=2.5", "--hyperparameters", "b1=0.8", "nesterov=True", "--optimizer", "adam"],
        ["--augment", "default", "--hidden", "none", "--json", "--seed", "3", "--hyperparameters", "none"],
    ],
)
def test_command_line_of_a_training_parses_to_the_same_training(arguments):
    command = parse(Train, *arguments)
    again = parse(Train, *shlex.split(command_line("train", command))[2:])
    assert again.settings() == command.settings()
    assert used_flags(again.model, again.objective, again.optimizer, again.run_flags) == used_flags(
        command.model, command.objective, command.optimizer, command.run_flags
    )
    assert (again.config, again.json, again.storage, again.devices) == (
        command.config, command.json, command.storage, command.devices,
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ["--hidden", "10", "20x30", "none", "--seeds", "3"],
        ["--ema-decay", "none", "0.9", "--schedule", "constant", "cosine", "--learning-rate", "0.3", "1e-05"],
    ],
)
def test_command_line_of_a_sweep_parses_to_the_same_sweep(arguments):
    command = parse(Sweep, *arguments)
    assert parse(Sweep, *shlex.split(command_line("sweep", command))[2:]) == command


def test_to_arguments_of_a_flag_that_is_not_used_is_what_the_help_shows():
    assert to_arguments(FromConfig(("16", "32"))) == ["16", "32"]


def test_resume_settings_include_the_epochs_if_the_schedule_depends_on_them():
    constant = Settings(TrainConfig(epochs=3)).resume_settings()
    assert constant["--hidden"] == "30"
    assert constant["--learning-rate"] == "3.0"
    assert "--epochs" not in constant
    cosine = Settings(TrainConfig(epochs=3, schedule="cosine")).resume_settings()
    assert cosine["--epochs"] == "3"


@pytest.mark.parametrize(
    ("command", "module", "package", "extra"),
    [
        ("baselines --dataset digits", "sklearn", "scikit-learn", "baselines"),
        ("compare mine.py:sgd --dask tcp://127.0.0.1:1", "distributed", "distributed", "dask"),
        ("sweep --dataset digits --dask tcp://127.0.0.1:1", "distributed", "distributed", "dask"),
        ("export model.safetensors", "flatbuffers", "flatbuffers", "export"),
        ("predict picture.png", "PIL", "pillow", "recognition"),
        ("train --dataset digits --tensorboard runs", "tensorboardX", "tensorboardX", "tensorboard"),
        ("train --dataset digits --plot p.png", "matplotlib", "matplotlib", "compare"),
        ("compare mine.py:sgd", "jinja2", "jinja2", "compare"),
    ],
)
def test_a_missing_extra_is_named_before_anything_runs(
    run, uninstall, capsys, command, module, package, extra
):
    Path("mine.py").write_text("from optax import sgd")
    uninstall(module)
    assert run(*command.split()) == 2
    assert f"needs {package}: run pip install 'nnjax[{extra}]'" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_is_enough_where_no_epoch_is_seen(number):
    with stop_after_epoch(immediately=True) as stop, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    assert stop.code == 128 + number
