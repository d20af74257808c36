"""The devices among which experiments share their sweeps out."""

import contextlib

import jax
from jax.sharding import Mesh

from nnjax.runtime.environment import cores


def take_cores_as_devices() -> None:
    """Have jax make a device of each core: a sweep shared out among them takes less time."""
    with contextlib.suppress(RuntimeError):  # jax has begun to compute already
        jax.config.update("jax_num_cpu_devices", cores())


def all_devices() -> Mesh | None:
    """The devices among which sweeps are shared out; of virtual ones no more than there are cores."""
    devices = jax.devices()
    if jax.default_backend() == "cpu":
        devices = devices[: cores()]
    return jax.make_mesh((len(devices),), ("networks",), devices=devices) if len(devices) > 1 else None
