"""Several devices, in one process or in several: a mesh, and what lies where on it.

Nothing here adds up or sends by hand: arrays are told where they lie, and XLA works out which
sums that needs. Each process holds the data set whole.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding

from nnjax.objective import Whole


@dataclass(frozen=True)
class Spread(Whole):
    """Has each device of a mesh work out its part of a mini-batch; used inside compiled functions.

    Attributes:
      mesh: of any shape and names; its axes together split the examples.
    """

    mesh: Mesh

    def __call__(self, f: Callable, *batch: Any) -> Any:
        """`f(*batch)`, for an f that treats each example, along the first axis, by itself.

        What the devices do not divide is filled up with copies of the last example, whose results
        are left out again.
        """
        n, parts = len(batch[0]), self.mesh.size
        filled = np.minimum(np.arange(n + -n % parts), n - 1)

        def split(x):
            x = self.everywhere(x)
            x = self.everywhere(x[filled]) if len(filled) > n else x
            return jax.lax.with_sharding_constraint(x.reshape(parts, -1, *x.shape[1:]), along(self.mesh))

        def join(y):
            return y.reshape(-1, *y.shape[2:])[:n]

        return jax.tree.map(join, jax.vmap(f)(*jax.tree.map(split, batch)))

    def everywhere(self, tree: Any) -> Any:
        """`tree`, whole on every device: what is the same everywhere need not be sent."""
        return jax.lax.with_sharding_constraint(tree, everywhere(self.mesh))


def with_auto_axes(mesh: Any) -> Mesh | None:
    """The mesh with axes on which XLA works out shardings, or None.

    Raises:
      ValueError: it is neither, or leaves out a process of those that jax.distributed has joined.
    """
    if mesh is not None and not (isinstance(mesh, Mesh) and mesh.size):
        raise ValueError(f"mesh must be devices, such as jax.make_mesh((8,), ('data',)), not {mesh!r}")
    if jax.process_count() > 1:
        of = {device.process_index for device in mesh.devices.flat} if mesh else set()
        if len(of) < jax.process_count():
            raise ValueError(
                f"{jax.process_count()} processes train together: give all of them a mesh of all their "
                "devices, as jax.make_mesh((jax.device_count(),), ('data',))"
            )
    if mesh is None:
        return None
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))


def devices(mesh: Mesh | None) -> int:
    """How many devices share the work: without a mesh, one."""
    return mesh.size if mesh else 1


def everywhere(mesh: Mesh) -> NamedSharding:
    """Whole on every device."""
    return NamedSharding(mesh, PartitionSpec())


def along(mesh: Mesh) -> NamedSharding:
    """A part of the first axis on each device."""
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names))


def put(tree: Any, sharding: Sharding) -> Any:
    """Arrays that this process holds whole, laid on a mesh; the other processes hold the same ones."""

    def lay(x):
        if is_key(x):
            return jax.random.wrap_key_data(lay(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        held = np.asarray(x)
        return jax.make_array_from_callback(held.shape, sharding, lambda index: held[index])

    return jax.tree.map(lay, tree)


def lie_as(tree: Any, shown: Any) -> Any:
    """`tree`, which this process holds whole, on the devices on which `shown` lies."""

    def lay(x, where):
        return put(x, where.sharding) if where.committed else jax.device_put(x)

    return jax.tree.map(lay, tree, shown)


def placing(mesh: Mesh | None) -> Callable[[Any], Any]:
    """Lays arrays on the device, or whole on every device of a mesh."""
    return jax.device_put if mesh is None else partial(put, sharding=everywhere(mesh))


def vmap(f: Callable, in_axes: Any, out_axes: Any, mesh: Mesh | None) -> Callable:
    """`jax.vmap`, with the mapped axis shared out among the devices of `mesh`."""
    return shared_out(jax.vmap(f, in_axes, out_axes), in_axes, out_axes, mesh)


def shared_out(f: Callable, in_axes: Any, out_axes: Any, mesh: Mesh | None) -> Callable:
    """An f of many networks, with these shared out among the devices of `mesh`: they never speak.

    Args:
      in_axes, out_axes: as of `jax.vmap`: 0 where there is a leading network axis, whose length must be
        a multiple of the number of devices; None where all networks have the same.
    """
    if mesh is None:
        return f

    def specs(axes):
        parts = PartitionSpec(mesh.axis_names)
        return jax.tree.map(
            lambda axis: PartitionSpec() if axis is None else parts, axes, is_leaf=lambda axis: axis is None
        )

    return jax.shard_map(f, mesh=mesh, in_specs=specs(in_axes), out_specs=specs(out_axes), check_vma=False)


def is_key(x: Any) -> bool:
    """Whether `x` is a typed key, or an array of them."""
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def plain(x: Any) -> np.ndarray:
    """An array as NumPy has it, whole in each process; a key as its numbers."""
    if is_key(x):
        return plain(jax.random.key_data(x))
    if isinstance(x, jax.Array) and not (x.is_fully_addressable or x.is_fully_replicated):
        from jax.experimental.multihost_utils import process_allgather

        return np.asarray(process_allgather(x, tiled=True))
    return np.asarray(x)
