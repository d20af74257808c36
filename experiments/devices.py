"""The devices that share the networks of a sweep."""

import contextlib

import jax
from jax.sharding import Mesh

from nnjax.runtime import cores


def use_cores_as_devices() -> None:
    """Makes every core a device of jax, so that a sweep takes less time on a CPU."""
    with contextlib.suppress(RuntimeError):  # jax has already started
        jax.config.update("jax_num_cpu_devices", cores())


def device_mesh() -> Mesh | None:
    """All devices, of virtual ones no more than there are cores; None if there is only one."""
    devices = jax.devices()
    if jax.default_backend() == "cpu":
        devices = devices[: cores()]
    return jax.make_mesh((len(devices),), ("networks",), devices=devices) if len(devices) > 1 else None
