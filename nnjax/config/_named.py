"""The named configurations."""

from collections.abc import Mapping
from types import MappingProxyType

import optax

from nnjax.config._train_config import TrainConfig
from nnjax.nn import he, relu, softmax_cross_entropy
from nnjax.optim.schedules import cosine, warmup_linear

configs: Mapping[str, TrainConfig] = MappingProxyType(
    {
        "book": TrainConfig(),
        "fast-cpu": TrainConfig(
            hidden=(),
            channels=(16, 48),
            activation=relu,
            initial_weights=he,
            cost=softmax_cross_entropy,
            label_smoothing=0.05,
            optimizer=optax.adam,
            learning_rate=0.005,
            hyperparameters={"b2": 0.95},
            schedule=warmup_linear,
            epochs=2,
            batch_size=100,
        ),
        "best-cpu": TrainConfig(
            hidden=(128,),
            channels=(16, 32),
            activation=relu,
            initial_weights=he,
            cost=softmax_cross_entropy,
            augment={},
            optimizer=optax.adam,
            learning_rate=0.002,
            schedule=cosine,
            ema_decay=0.999,
            epochs=8,
            batch_size=50,
        ),
    }
)
