"""A pytree of arrays as one array of bytes, and back: what a checkpoint holds.

One array, for where one of several is damaged, Orbax abandons the reading of the others, which then
ends in tracebacks that nobody can catch.
"""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nnjax.runtime.sharding import is_key, to_numpy

_SUM = 32  # bytes of a digest


def serialized_size(tree: Any) -> int:
    """The bytes of `packed_bytes(tree)`."""
    shown = map(_shown, jax.tree.leaves(tree))
    return _SUM + sum(one.size * one.dtype.itemsize for one in shown)


def _shown(leaf: Any) -> jax.ShapeDtypeStruct:
    """The shape and dtype of a leaf as NumPy has it, though it may lie on many devices."""
    if is_key(leaf):
        return jax.eval_shape(jax.random.key_data, leaf)
    return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype)


def serialize(tree: Any) -> np.ndarray:
    """The bytes of all leaves in their order, after a sum over them and their names, dtypes, shapes."""
    body = b"".join(to_numpy(leaf).tobytes() for leaf in jax.tree.leaves(tree))
    return np.frombuffer(_sum(tree) + body, np.uint8)


def deserialize(packed: np.ndarray, like: Any) -> Any:
    """The pytree that was packed, of the shapes and dtypes of `like`; a ValueError where it is not that."""
    content, place = packed.tobytes(), _SUM

    def next_leaf(shown) -> Any:
        nonlocal place
        form = _shown(shown)
        found = np.frombuffer(content, form.dtype, form.size, place).reshape(form.shape).copy()
        place += found.nbytes
        if not is_key(shown):
            return found
        return jax.random.wrap_key_data(jnp.asarray(found), impl=jax.random.key_impl(shown))

    tree = jax.tree.map(next_leaf, like)
    if content[:_SUM] != _sum(tree):
        raise ValueError("its sum is wrong")
    return tree


def _sum(tree: Any) -> bytes:
    named = jax.tree.leaves_with_path(tree)
    return bytes.fromhex(digest([(jax.tree_util.keystr(path), leaf) for path, leaf in named]))


def digest(*parts: Any) -> str:
    """A name for `parts`, texts and pytrees of arrays: one that differs in a bit has another name.

    >>> digest("program", np.zeros(2)) == digest("program", np.zeros(2))
    True
    """
    told = hashlib.sha256()
    for leaf in jax.tree.leaves(parts):
        array = np.frombuffer(leaf.encode(), np.uint8) if isinstance(leaf, str) else to_numpy(leaf)
        told.update(f"{array.dtype}{array.shape}".encode())
        told.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return told.hexdigest()
