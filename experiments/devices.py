"""The devices that share the networks of a sweep."""

import contextlib

import jax
from jax.sharding import Mesh

from nnjax.runtime import cores


def use_cores_as_devices() -> None:
    """Uses every CPU core as a device of jax, which makes sweeps faster."""
    with contextlib.suppress(RuntimeError):  # jax has already started
        jax.config.update("jax_num_cpu_devices", cores())


def device_mesh() -> Mesh | None:
    """A mesh of all devices, on a CPU at most one for each core; None if there is only one device."""
    devices = jax.devices()
    if jax.default_backend() == "cpu":
        devices = devices[: cores()]
    return jax.make_mesh((len(devices),), ("networks",), devices=devices) if len(devices) > 1 else None
