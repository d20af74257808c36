"""`TrainConfig`: the configuration of a network and its training, as one value."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

import jax
import optax
from jaxtyping import Array

from nnjax.config._fields import (
    MAXIMA,
    OPTIONAL_FIELDS,
    REGISTRIES,
    SWEEP_ARGUMENTS,
    as_name,
    check_finite_number,
    check_not_fields,
    checked_sizes,
    config_repr,
    json_value,
    with_length,
)
from nnjax.data import Dataset
from nnjax.nn import (
    Activation,
    Augment,
    Code,
    ConvNet,
    Cost,
    Dense,
    DenseWithDropout,
    InitialWeights,
    LabelSmoothing,
    Objective,
    identity,
    init,
    one_hot,
    quadratic,
    sigmoid,
    standard_normal,
    weight_penalty,
)
from nnjax.nn._shape_checks import num_outputs
from nnjax.nn.augment import MAGNITUDES
from nnjax.optim import OPTIMIZERS, Factory, Schedule
from nnjax.optim.schedules import constant
from nnjax.runtime.checks import check_positive_int, lookup, registered_name
from nnjax.sweep import Grid, sweep
from nnjax.training import Run, fit

MNIST_SIDE = 28  # the lengths in `augment` are pixels of a 28x28 image


@dataclass(frozen=True, repr=False)
class TrainConfig:
    """How a network is built and trained; the defaults are those of the book's chapter 1.

    Fields that hold a function also accept its registered name: `TrainConfig(activation="relu")`. Change a
    configuration with `dataclasses.replace`.

    Attributes:
      hidden: neurons of each hidden dense layer.
      channels: output channels of each convolution before the dense layers; () for a dense network.
      activation: activation of the hidden layers.
      initial_weights: a function that draws the weights and biases of a layer.
      cost: cost of one example.
      output_code: encodes labels as outputs; not used for data without classes.
      l1: factor of the penalty Σ|w| on the weights.
      l2: factor of the penalty ½ Σw² on the weights.
      dropout: probability of dropping a hidden unit or, with convolutions, a feature; None for none.
      input_dropout: probability of dropping an input; needs `dropout`, and no convolutions.
      augment: arguments of `Augment` by name, in pixels of 28x28 images; {} for its defaults, None for
        no augmentation.
      label_smoothing: α of `LabelSmoothing`; 0 for none.
      optimizer: an optax factory.
      learning_rate: η; None for the optimizer's default.
      schedule: learning-rate schedule, as for `fit`.
      hyperparameters: other arguments of the optimizer by name.
      ema_decay: decay of the averaged parameters, which evaluation uses; None for no averaging.
      epochs: passes over the training examples.
      batch_size: examples in a mini-batch.

    Raises:
      ValueError: an unknown name, a number out of range, or a field that would have no effect.

    >>> TrainConfig(activation="relu")  # doctest: +ELLIPSIS
    TrainConfig(hidden=(30,), channels=(), activation='relu', ..., epochs=30, batch_size=10)
    """

    hidden: tuple[int, ...] = (30,)
    channels: tuple[int, ...] = ()
    activation: Activation = sigmoid
    initial_weights: InitialWeights = standard_normal
    cost: Cost = quadratic
    output_code: Code = one_hot
    l1: float = 0.0
    l2: float = 0.0
    dropout: float | None = None
    input_dropout: float = 0.0
    augment: Mapping[str, float] | None = None
    label_smoothing: float = 0.0
    optimizer: Factory = optax.sgd
    learning_rate: float | None = None
    schedule: Schedule = constant
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    ema_decay: float | None = None
    epochs: int = 30
    batch_size: int = 10

    def __post_init__(self):
        for name, (kind, registry) in REGISTRIES.items():
            value = getattr(self, name)
            if value is None or isinstance(value, str | int | float | list | Mapping):
                object.__setattr__(self, name, lookup(kind, as_name(value), registry))
        for name in ("hidden", "channels"):
            object.__setattr__(self, name, checked_sizes(name, getattr(self, name)))
        for name in ("epochs", "batch_size"):
            object.__setattr__(self, name, check_positive_int(name, getattr(self, name)))
        for name, maximum in MAXIMA.items():
            if not (name in OPTIONAL_FIELDS and getattr(self, name) is None):
                check_finite_number(name, getattr(self, name), maximum)
        for name in ("augment", "hyperparameters"):
            value = getattr(self, name)
            if not (isinstance(value, Mapping) or (name in OPTIONAL_FIELDS and value is None)):
                raise ValueError(f"{name} must be a mapping from names to values, got {value!r}")
        for name, value in (self.augment or {}).items():
            lookup("augment", name, dict.fromkeys(MAGNITUDES))
            check_finite_number(f"augment {name}", value)
        self._check_combinations()

    def _check_combinations(self) -> None:
        if self.label_smoothing and self.output_code != one_hot:
            raise ValueError(f"output_code must be one_hot if label_smoothing is set, got {self.output_code}")
        if self.input_dropout and (self.dropout is None or self.channels):
            raise ValueError(
                "input_dropout must be 0 without dropout or with channels, where it has no effect, got "
                f"{self.input_dropout:g}"
            )
        if repeated := sorted({f.name for f in fields(self)} & set(self.hyperparameters)):
            raise ValueError(f"hyperparameters must not contain {', '.join(repeated)}: set the field instead")

    def __repr__(self) -> str:
        return config_repr(self)

    def _check_images(self, data: Dataset) -> None:
        """Raises ValueError if the configuration needs images that `data` does not have."""
        if self.channels and len(data.input_shape) < 2:
            raise ValueError(f"channels must be empty for inputs other than images, got {data.input_shape}")
        if self.augment is not None and (len(data.input_shape) < 2 or math.prod(data.input_shape[2:]) != 1):
            raise ValueError(
                f"augment must be None for inputs other than gray images, got {data.input_shape}"
            )

    def init_fn(self, data: Dataset) -> Callable[[Array], Any]:
        """A function that draws the parameters of a network for `data` from a key.

        Raises:
          ValueError: the network does not fit the data.
        """
        self._check_images(data)
        n_out = num_outputs(self.output_code, data)
        if self.channels:
            draw, dense = ConvNet(data.input_shape).init, (*self.hidden, n_out)
            return partial(draw, channels=self.channels, dense=dense, initial_weights=self.initial_weights)
        sizes = (math.prod(data.input_shape), *self.hidden, n_out)
        return partial(init, sizes=sizes, initial_weights=self.initial_weights)

    def objective(self, data: Dataset) -> Objective:
        """The objective for `data`.

        Raises:
          ValueError: the configuration does not fit the data.
        """
        self._check_images(data)
        has_classes = data.num_classes is not None
        output = sigmoid if self.cost is quadratic and has_classes else identity
        if self.channels:
            forward = ConvNet(
                data.input_shape, activation=self.activation, output=output, dropout=self.dropout
            )
        elif self.dropout is None:
            forward = Dense(self.activation, output)
        else:
            forward = DenseWithDropout(self.activation, output, self.dropout, self.input_dropout)
        if self.augment is not None:
            height, width, *_ = data.input_shape
            forward = Augment(forward, (height, width), **self.augment)
            scale = min(height, width) / MNIST_SIDE
            lengths = ("translate", "elastic_alpha", "elastic_sigma")
            forward = replace(forward, **{name: getattr(forward, name) * scale for name in lengths})
        code = LabelSmoothing(self.label_smoothing) if self.label_smoothing else self.output_code
        penalty = jax.tree_util.Partial(weight_penalty, self.l1, self.l2) if self.l1 or self.l2 else None
        return Objective(forward, self.cost, code if has_classes else None, penalty)

    def used_learning_rate(self) -> float | None:
        """`learning_rate`, or the optimizer's default; None if the optimizer has no default here.

        >>> TrainConfig(optimizer="adam").used_learning_rate()
        0.003
        """
        if self.learning_rate is not None:
            return self.learning_rate
        defaults = (d.learning_rate for d in OPTIMIZERS.values() if d.factory is self.optimizer)
        return next(defaults, None)

    def fit_kwargs(self, data: Dataset) -> dict[str, Any]:
        """The keyword arguments of `fit` and `sweep` for `data`."""
        learning_rate = self.used_learning_rate()
        rate = {} if learning_rate is None else {"learning_rate": learning_rate}
        names = ("optimizer", "schedule", "ema_decay", "epochs", "batch_size")
        settings = {name: getattr(self, name) for name in names} | rate
        return settings | {
            "objective": self.objective(data),
            "hyperparameters": dict(self.hyperparameters),
        }

    def fit(self, key: Array, data: Dataset, **runtime: Any) -> Run:
        """Draws a network and trains it on `data`.

        Args:
          key: split in two: for the initial parameters, and for `fit`.
          data: a data set.
          **runtime: other arguments of `fit`, such as `callback`, `checkpoint`, `metrics` or `watch`.
            `steps` replaces `epochs`.

        >>> import nnjax
        >>> run = TrainConfig(hidden=(10,), epochs=1).fit(jax.random.key(0), nnjax.load("digits"))
        >>> len(run.history)
        1
        """
        init_key, fit_key = jax.random.split(key)
        check_not_fields(runtime, {f.name for f in fields(self)})
        kwargs = with_length(self.fit_kwargs(data), runtime)
        return fit(fit_key, self.init_fn(data)(init_key), data, **kwargs)

    def sweep(self, key: Array, data: Dataset, **axes: Any) -> Grid:
        """Trains a grid of networks that differ from this configuration along `axes`.

        Args:
          key: a `jax.random.key`.
          data: a data set.
          **axes: arguments of `sweep`, such as `zip`, `seeds` or `watch`. Sequences for `hidden`,
            `initial_weights`, `learning_rate`, `schedule`, `ema_decay`, `batch_size`, `objective` or a
            hyper-parameter of the optimizer become axes. `steps` replaces `epochs`.

        >>> import nnjax
        >>> config = TrainConfig(hidden=(10,), epochs=1)
        >>> config.sweep(jax.random.key(0), nnjax.load("digits"), learning_rate=(0.3, 3.0), seeds=2)
        Grid({'learning_rate': 2, 'seed': 2, 'epoch': 1})
        """
        check_not_fields(axes, {f.name for f in fields(self)} - SWEEP_ARGUMENTS)
        kwargs: dict[str, Any] = with_length(self.fit_kwargs(data), axes)
        varied = {*axes, *(axes.get("zip") or ())}
        if not {"hidden", "initial_weights"} & varied:
            kwargs.setdefault("init", self.init_fn(data))
            return sweep(key, data, **kwargs)
        if self.channels:
            raise ValueError(f"channels must be () to sweep hidden or initial_weights, got {self.channels}")
        kwargs = {"initial_weights": self.initial_weights, **kwargs}
        if "hidden" in varied:
            return sweep(key, data, **kwargs)
        # A sequence is an axis for `sweep`, also one network's layers.
        return sweep(key, data, hidden=[self.hidden], **kwargs).squeeze("hidden")

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values: functions by their registered names.

        Raises:
          ValueError: a function that has no registered name, or a value that is not a JSON value.

        >>> TrainConfig().to_json()["optimizer"]
        'sgd'
        """
        config = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, (kind, registry) in REGISTRIES.items():
            config[name] = registered_name(kind, config[name], registry)
        return {name: json_value(name, value) for name, value in config.items()}

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> "TrainConfig":
        """The configuration that `to_json` returned; missing fields get their defaults.

        Raises:
          ValueError: an unknown field or name, or a value out of range.

        >>> TrainConfig.from_json({"hidden": [100]}).hidden
        (100,)
        """
        if not isinstance(config, Mapping):
            raise ValueError(f"a configuration must be a mapping from fields to values, got {config!r}")
        for name in config:
            lookup("field of a configuration", name, dict.fromkeys(f.name for f in fields(cls)))
        return cls(**config)
