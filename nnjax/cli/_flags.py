"""The flags that set a `TrainConfig`, in the groups that the help shows.

A flag that is not used has the value `FromConfig`, and the configuration's value applies. This distinguishes
an unused `--dropout` from `--dropout none`.
"""

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from tyro.conf import arg
from tyro.constructors import PrimitiveConstructorSpec

from nnjax.nn import ACTIVATIONS, COSTS, INITIAL_WEIGHTS
from nnjax.optim import OPTIMIZERS, SCHEDULES

T = TypeVar("T")

_WORDS = {"none": None, "true": True, "false": False}


@dataclass(frozen=True)
class FromConfig:
    """The value of a flag that is not used; `shown` is the configuration's value as the help shows it."""

    shown: tuple[str, ...] = ()


FROM_CONFIG = FromConfig()


def to_arguments(value: Any) -> list[str]:
    """The value of a flag as it is written on the command line.

    >>> to_arguments((20, 30)), to_arguments({"b1": 0.9}), to_arguments(None)
    (['20', '30'], ['b1=0.9'], ['none'])
    """
    match value:
        case FromConfig():
            return list(value.shown)
        case ():
            return ["none"]
        case Mapping():
            return [f"{name}={number}" for name, number in value.items()]
        case tuple() | list():
            return ["x".join(map(str, v)) or "none" if isinstance(v, tuple) else _word(v) for v in value]
        case _:
            return [_word(value)]


def _word(value: Any) -> str:
    return "none" if value is None else str(value)


def _flag(parse: Callable[[Any], Any], metavar: str, nargs: Literal[1, "*"] = 1) -> PrimitiveConstructorSpec:
    """How tyro parses a flag: `parse` gets one argument or, with nargs="*", a list of arguments."""
    return PrimitiveConstructorSpec(
        nargs=nargs,
        metavar=metavar,
        instance_from_str=parse if nargs == "*" else lambda arguments: parse(arguments[0]),
        is_instance=lambda value: True,
        str_from_instance=to_arguments,
    )


def _axis(parse: Callable[[str], Any], metavar: str) -> PrimitiveConstructorSpec:
    """How tyro parses a flag whose values become an axis of a sweep."""
    return _flag(lambda arguments: tuple(map(parse, arguments)), f"{metavar} ...", "*")


def _parser(kind: Callable[[str], T], description: str) -> Callable[[str], T]:
    def parse(text: str) -> T:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"must be {description}, got {text!r}") from None

    return parse


_integer, _number = _parser(int, "an integer"), _parser(float, "a number")


def _number_or_none(text: str) -> float | None:
    return None if text.lower() == "none" else _number(text)


def _layers(text: str) -> tuple[int, ...]:
    """The sizes of the layers of one network: "20x30" is (20, 30), "none" is ()."""
    if text.lower() == "none":
        return ()
    try:
        return tuple(map(int, text.split("x")))
    except ValueError:
        raise ValueError(f"must be integers such as 30 or 20x30, got {text!r}") from None


def _all_layers(arguments: Sequence[str]) -> tuple[int, ...]:
    if not arguments:
        raise ValueError("must be at least one integer, or none")
    return tuple(size for text in arguments for size in _layers(text))


def _literal(text: str) -> Any:
    """A number, boolean or None if `text` is one; else `text`."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text


def _pairs(arguments: Sequence[str], parse: Callable[[str], Any]) -> dict[str, Any]:
    pairs = [text.partition("=") for text in arguments]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise ValueError(f"must be name=value pairs, got {name + equals + value!r}")
    return {name: parse(value) for name, _, value in pairs}


def _augment(arguments: Sequence[str]) -> dict[str, float] | None:
    if arguments == ["none"]:
        return None
    return {} if arguments == ["default"] else _pairs(arguments, _number)


def _hyperparameters(arguments: Sequence[str]) -> dict[str, Any]:
    return {} if arguments == ["none"] else _pairs(arguments, _literal)


def _names(registry: Mapping[str, Any]) -> str:
    return "{" + ",".join(registry) + "}"


Integer = Annotated[int | FromConfig, _flag(_integer, "INT")]
Number = Annotated[float | FromConfig, _flag(_number, "FLOAT")]
NumberOrNone = Annotated[float | FromConfig | None, _flag(_number_or_none, "FLOAT|none")]
Text = Annotated[str | FromConfig, _flag(str, "NAME")]
OptionalFile = Annotated[Path | None, _flag(Path, "FILE"), arg(help_behavior_hint="")]
Directory = Annotated[Path | None, _flag(Path, "DIR"), arg(help_behavior_hint="")]
OptionalInteger = Annotated[int | None, _flag(_integer, "INT"), arg(help_behavior_hint="")]
OptionalText = Annotated[str | None, _flag(str, "TEXT"), arg(help_behavior_hint="")]
DataDir = Annotated[
    Path | None,
    _flag(Path, "DIR"),
    arg(help_behavior_hint="(default: $TFDS_DATA_DIR, else ~/tensorflow_datasets)"),
]


@dataclass
class ModelFlags:
    """The network."""

    hidden: Annotated[tuple[int, ...] | FromConfig, _flag(_all_layers, "INT ...", "*")] = FROM_CONFIG
    """Neurons in each hidden layer: 30 is one layer, 20 30 is two layers, none is no hidden layer."""
    channels: Annotated[tuple[int, ...] | FromConfig, _flag(_all_layers, "INT ...", "*")] = FROM_CONFIG
    """Number of output channels of each convolution before the hidden layers, or none for a dense network."""
    activation: Annotated[str | FromConfig, _flag(str, _names(ACTIVATIONS))] = FROM_CONFIG
    """Activation function of the hidden layers."""
    initial_weights: Annotated[str | FromConfig, _flag(str, _names(INITIAL_WEIGHTS))] = FROM_CONFIG
    """Variance of the initial weights: 1 (standard_normal), 1/n_in (lecun) or 2/n_in (he) for n_in inputs."""


@dataclass
class ModelAxes(ModelFlags):
    """The network."""

    hidden: Annotated[tuple | FromConfig, _axis(_layers, "INT")] = FROM_CONFIG
    """Neurons in the hidden layer; several values become an axis; 20x30 is a network of two layers."""
    initial_weights: Annotated[tuple | FromConfig, _axis(str, _names(INITIAL_WEIGHTS))] = FROM_CONFIG
    """Variance of the initial weights: 1, 1/n_in or 2/n_in for n_in inputs; several values become an axis."""


@dataclass
class ObjectiveFlags:
    """What training minimizes."""

    cost: Annotated[str | FromConfig, _flag(str, _names(COSTS))] = FROM_CONFIG
    """Cost function of one example."""
    output_code: Text = FROM_CONFIG
    """Encoding of labels as outputs: one_hot, binary, or one neuron, from "is_digit(0)" to "is_digit(9)"."""
    l1: Number = FROM_CONFIG
    """Factor of the penalty Σ|w| on the weights."""
    l2: Number = FROM_CONFIG
    """Factor of the penalty ½ Σw² on the weights."""
    dropout: NumberOrNone = FROM_CONFIG
    """Probability of dropping a hidden unit (with convolutions, a feature) in training, from 0 to 1."""
    input_dropout: Number = FROM_CONFIG
    """Probability of dropping an input in training, from 0 to 1; needs --dropout and no convolutions."""
    augment: Annotated[
        Mapping[str, float] | FromConfig | None,
        _flag(_augment, "none|default|NAME=FLOAT ...", "*"),
        arg(
            help="Random distortion of training images: none, default, or values of translate, "
            "elastic_alpha, elastic_sigma (pixels of a 28x28 image), rotate (radians) and log_scale."
        ),
    ] = FROM_CONFIG
    label_smoothing: Number = FROM_CONFIG
    """Fraction of each target that is spread over all labels, from 0 to 1."""


@dataclass
class OptimizerFlags:
    """Gradient descent."""

    optimizer: Annotated[str | FromConfig, _flag(str, _names(OPTIMIZERS))] = FROM_CONFIG
    """Variant of gradient descent; without --learning-rate, its default learning rate applies."""
    learning_rate: NumberOrNone = FROM_CONFIG
    """Learning rate (the book's η), or none for the optimizer's default."""
    schedule: Annotated[str | FromConfig, _flag(str, _names(SCHEDULES))] = FROM_CONFIG
    """Schedule of the learning rate during training."""
    hyperparameters: Annotated[
        Mapping[str, Any] | FromConfig, _flag(_hyperparameters, "none|NAME=VALUE ...", "*")
    ] = FROM_CONFIG
    """Other arguments of the optimizer, such as momentum=0.9."""
    ema_decay: NumberOrNone = FROM_CONFIG
    """Decay of the moving average of the parameters that is evaluated and saved, from 0 to 1."""


@dataclass
class OptimizerAxes(OptimizerFlags):
    """Gradient descent."""

    learning_rate: Annotated[tuple | FromConfig, _axis(_number, "FLOAT")] = FROM_CONFIG
    """Learning rate (the book's η); several values become an axis."""
    schedule: Annotated[tuple | FromConfig, _axis(str, _names(SCHEDULES))] = FROM_CONFIG
    """Schedule of the learning rate during training; several values become an axis."""
    ema_decay: Annotated[tuple | FromConfig, _axis(_number_or_none, "FLOAT|none")] = FROM_CONFIG
    """Decay of the moving average of the parameters that is evaluated; several values become an axis."""


@dataclass
class RunFlags:
    """Data, length and random seed."""

    dataset: Text = FROM_CONFIG
    """mnist, fashion_mnist, kmnist, digits, auto (mnist, else digits), tfds:NAME, or an .npz file."""
    data_dir: DataDir = None
    """Directory of the data sets."""
    epochs: Integer = FROM_CONFIG
    """Number of times that every training example is used."""
    batch_size: Integer = FROM_CONFIG
    """Number of examples in a mini-batch (the book's m)."""
    seed: Integer = FROM_CONFIG
    """Seed of the initial weights and of the order of the images, from 0 to 4294967295."""


@dataclass
class SweepRunFlags(RunFlags):
    """Data, length and random seeds."""

    batch_size: Annotated[tuple | FromConfig, _axis(_integer, "INT")] = FROM_CONFIG
    """Number of examples in a mini-batch (the book's m); several values become an axis."""
    seeds: int = 1
    """Number of random seeds, which is the number of networks for each combination of settings."""


def used_flags(*groups: Any) -> dict[str, Any]:
    """By name, the values of the used flags that override the configuration."""
    values = {f.name: getattr(group, f.name) for group in groups for f in _config_flags(group)}
    return {name: value for name, value in values.items() if not isinstance(value, FromConfig)}


def _config_flags(group: Any) -> list[Any]:
    return [f for f in fields(group) if isinstance(f.default, FromConfig)]


def with_shown_defaults(command: T, shown: Mapping[str, tuple[str, ...]]) -> T:
    """`command` with the configuration's values as the defaults that its help shows."""
    groups = {f.name: getattr(command, f.name) for f in fields(command)}  # pyright: ignore[reportArgumentType]
    changed = {
        name: replace(group, **{f.name: FromConfig(shown[f.name]) for f in _config_flags(group)})
        for name, group in groups.items()
        if is_dataclass(group) and not isinstance(group, type)
    }
    return replace(command, **changed)  # pyright: ignore[reportArgumentType]


def command_line(subcommand: str, command: Any) -> str:
    """The shell command that runs `command` again."""
    # `python -m nnjax` may run where there is no `nnjax` on the PATH.
    as_module = Path(sys.argv[0]).parts[-2:] == ("nnjax", "__main__.py")
    program = [Path(sys.executable).name, "-m", "nnjax"] if as_module else ["nnjax"]
    return shlex.join([*program, subcommand, *_changed_flags(command)])


def _changed_flags(group: Any) -> Iterator[str]:
    for f in fields(group):
        value = getattr(group, f.name)
        if is_dataclass(value) and not isinstance(value, FromConfig):
            yield from _changed_flags(value)
        elif value != f.default and not isinstance(value, FromConfig):
            yield f"--{f.name.replace('_', '-')}"
            yield from [] if isinstance(value, bool) else to_arguments(value)
