"""The settings of `nnjax train` and `nnjax sweep`: a configuration, a data set and a seed."""

import difflib
import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from nnjax.cli._flags import to_arguments
from nnjax.config import TrainConfig, configs
from nnjax.optim.schedules import constant

MAX_SEED = 2**32 - 1


class Settings(NamedTuple):
    """Everything that a training depends on, except the data and the machine."""

    config: TrainConfig
    dataset: str = "auto"
    seed: int = 0

    def changed(self, flags: dict[str, Any]) -> "Settings":
        """These settings with the values of `flags`, by name.

        With `optimizer`, the learning rate and the hyper-parameters of the configuration do not apply,
        because they belong to the previous optimizer.

        Raises:
          ValueError: a wrong value.
        """
        flags = dict(flags)
        dataset, seed = flags.pop("dataset", self.dataset), flags.pop("seed", self.seed)
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
            raise ValueError(f"seed must be an integer from 0 to {MAX_SEED}, got {seed!r}")
        if not isinstance(dataset, str):
            raise ValueError(f"dataset must be a name, got {dataset!r}")
        if "optimizer" in flags:
            flags = {"learning_rate": None, "hyperparameters": {}} | flags
        return Settings(replace(self.config, **flags), dataset, seed)

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values for records and model files; `load_settings` reads them."""
        config = self.config.to_json() | {"learning_rate": self.config.used_learning_rate()}
        return {"config": config, "dataset": self.dataset, "seed": self.seed}

    def by_flag(self) -> dict[str, str]:
        """Every setting as text, by the name of its flag."""
        return {f"--{name.replace('_', '-')}": " ".join(words) for name, words in self.shown().items()}

    def resume_settings(self) -> dict[str, str]:
        """The settings that must not change when a training resumes, as text by flag.

        With a constant schedule a training may resume with more epochs; every other schedule depends on them.
        """
        settings = self.by_flag()
        if self.config.schedule is constant:
            del settings["--epochs"]
        return settings

    def shown(self) -> dict[str, tuple[str, ...]]:
        """Every setting as it is written on the command line, by the name of its field."""
        values = self.config.to_json() | {"learning_rate": self.config.used_learning_rate()}
        values |= {"dataset": self.dataset, "seed": self.seed}
        shown = {name: tuple(to_arguments(value)) or ("none",) for name, value in values.items()}
        return shown | ({"augment": ("default",)} if self.config.augment == {} else {})


def load_settings(source: str) -> Settings:
    """The settings that `--config` names.

    Args:
      source: the name of a configuration, or a TOML or JSON file with fields of `TrainConfig`, `dataset` and
        `seed`. The fields of `TrainConfig` may also be in a table `config`, as in the record of a run.

    Raises:
      ValueError: an unknown name, an unreadable file, wrong contents.
    """
    if source in configs:
        return Settings(configs[source])
    path = Path(source)
    if not path.exists():
        nearest = difflib.get_close_matches(source, configs, n=1)
        hint = f": did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(f"--config must be one of {', '.join(configs)}, or a file, got {source!r}{hint}")
    content = _read(path)
    config = content.pop("config", None)
    if config is None:
        config = {name: value for name, value in content.items() if name not in ("dataset", "seed")}
    others = {name: content[name] for name in ("dataset", "seed") if name in content}
    try:
        return Settings(TrainConfig.from_json(config)).changed(others)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except OSError as error:
        raise ValueError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be a configuration in TOML or JSON: {error}") from error
