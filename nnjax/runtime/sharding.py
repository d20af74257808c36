"""Meshes of devices in one or several processes, and the placement of arrays on them.

There is no explicit communication: arrays get a sharding, and XLA inserts the collectives. Each process
holds the full data set.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding


def with_auto_axes(mesh: Any) -> Mesh | None:
    """The mesh with axes for which XLA infers shardings, or None.

    Raises:
      ValueError: not a mesh, or a mesh that does not contain devices of every process.
    """
    if mesh is not None and not (isinstance(mesh, Mesh) and mesh.size):
        raise ValueError(f"mesh must be a Mesh, such as jax.make_mesh((8,), ('data',)), got {mesh!r}")
    if jax.process_count() > 1:
        processes = {device.process_index for device in mesh.devices.flat} if mesh else set()
        if len(processes) < jax.process_count():
            raise ValueError(
                f"mesh must contain the devices of all {jax.process_count()} processes, got {mesh!r}: "
                "pass jax.make_mesh((jax.device_count(),), ('data',)) in each of them"
            )
    if mesh is None:
        return None
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))


def num_devices(mesh: Mesh | None) -> int:
    """The number of devices of a mesh; 1 for None."""
    return mesh.size if mesh else 1


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of an array of which every device has a full copy."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharded(mesh: Mesh) -> NamedSharding:
    """The sharding of an array whose first axis is split among the devices."""
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names))


def replicate(tree: Any, mesh: Mesh | None) -> Any:
    """Puts a full copy of `tree` on every device of `mesh`; for use inside a compiled function."""
    return tree if mesh is None else jax.lax.with_sharding_constraint(tree, replicated(mesh))


def map_examples(f: Callable, mesh: Mesh | None, *batch: Any) -> Any:
    """`f(*batch)` with the examples split among the devices of `mesh`; for use inside a compiled function.

    Args:
      f: a function of batches that computes each example independently.
      mesh: a mesh of any shape. The examples are split over all its devices. None: one device.
      *batch: arrays with one leading axis of examples. If the devices do not divide their number,
        the last example is repeated, and the results of the copies are dropped.
    """
    if mesh is None:
        return f(*batch)
    n, parts = len(batch[0]), mesh.size
    padded = np.minimum(np.arange(n + -n % parts), n - 1)

    def split(x):
        x = replicate(x, mesh)
        x = replicate(x[padded], mesh) if len(padded) > n else x
        return jax.lax.with_sharding_constraint(x.reshape(parts, -1, *x.shape[1:]), batch_sharded(mesh))

    def join(y):
        return y.reshape(-1, *y.shape[2:])[:n]

    return jax.tree.map(join, jax.vmap(f)(*jax.tree.map(split, batch)))


def device_put_global(tree: Any, sharding: Sharding) -> Any:
    """Places arrays on the devices of all processes; every process must have the full arrays."""

    def put(x):
        if is_key(x):
            return jax.random.wrap_key_data(put(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        array = np.asarray(x)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return jax.tree.map(put, tree)


def place_like(tree: Any, template: Any) -> Any:
    """Places `tree` like `template`; this process must have the full arrays."""

    def put(x, like):
        return device_put_global(x, like.sharding) if like.committed else jax.device_put(x)

    return jax.tree.map(put, tree, template)


def placer(mesh: Mesh | None) -> Callable[[Any], Any]:
    """A function that puts arrays on the default device, or a full copy on every device of `mesh`."""
    return jax.device_put if mesh is None else partial(device_put_global, sharding=replicated(mesh))


def vmap(f: Callable, in_axes: Any, out_axes: Any, mesh: Mesh | None) -> Callable:
    """`jax.vmap`, with the mapped axis split among the devices of `mesh`."""
    return shard_networks(jax.vmap(f, in_axes, out_axes), in_axes, out_axes, mesh)


def shard_networks(f: Callable, in_axes: Any, out_axes: Any, mesh: Mesh | None) -> Callable:
    """A function like f that splits the networks among the devices of `mesh`; they do not communicate.

    Args:
      f: a function of arrays with a leading axis of networks.
      in_axes, out_axes: as for `jax.vmap`: 0 for arrays with a leading network axis, whose length must be
        a multiple of the number of devices; None for arrays that all networks share.
      mesh: the devices, or None to return f itself.
    """
    if mesh is None:
        return f

    def specs(axes):
        split = PartitionSpec(mesh.axis_names)
        return jax.tree.map(
            lambda axis: PartitionSpec() if axis is None else split, axes, is_leaf=lambda axis: axis is None
        )

    return jax.shard_map(f, mesh=mesh, in_specs=specs(in_axes), out_specs=specs(out_axes), check_vma=False)


def is_key(x: Any) -> bool:
    """Whether `x` is a typed jax key or an array of keys."""
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def to_numpy(x: Any) -> np.ndarray:
    """The full array as a NumPy array, in every process. A key is converted to its data."""
    if is_key(x):
        return to_numpy(jax.random.key_data(x))
    if isinstance(x, jax.Array) and not (x.is_fully_addressable or x.is_fully_replicated):
        from jax.experimental.multihost_utils import process_allgather

        return np.asarray(process_allgather(x, tiled=True))
    return np.asarray(x)
