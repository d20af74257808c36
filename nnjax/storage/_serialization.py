"""Pytrees of arrays as one array of bytes: the content of a checkpoint.

If one of several arrays is damaged, Orbax leaves the readers of the others running, and they print tracebacks
that cannot be caught. So a checkpoint is one array.
"""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nnjax.runtime.host_shape import HostShape
from nnjax.runtime.sharding import is_key, to_numpy

_DIGEST_BYTES = 32


def serialized_size(tree: Any) -> int:
    """The number of bytes of `serialize(tree)`."""
    leaves = map(_host_shape, jax.tree.leaves(tree))
    return _DIGEST_BYTES + sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def _host_shape(leaf: Any) -> HostShape:
    """The shape and dtype of `to_numpy(leaf)`, without a transfer."""
    if is_key(leaf):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    return HostShape(np.shape(leaf), np.dtype(leaf.dtype))


def serialize(tree: Any) -> np.ndarray:
    """The bytes of all leaves in order, after a digest of them and of their paths, dtypes and shapes."""
    body = b"".join(to_numpy(leaf).tobytes() for leaf in jax.tree.leaves(tree))
    return np.frombuffer(_tree_digest(tree) + body, np.uint8)


def deserialize(content: np.ndarray, template: Any) -> Any:
    """The pytree that was serialized.

    Args:
      content: what `serialize` returned.
      template: a pytree of the same structure, shapes and dtypes.

    Raises:
      ValueError: the content is damaged, or does not fit the template.
    """
    buffer, offset = content.tobytes(), _DIGEST_BYTES

    def next_leaf(leaf) -> Any:
        nonlocal offset
        shape = _host_shape(leaf)
        array = np.frombuffer(buffer, shape.dtype, shape.size, offset).reshape(shape.shape).copy()
        offset += array.nbytes
        if not is_key(leaf):
            return array
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))

    tree = jax.tree.map(next_leaf, template)
    if buffer[:_DIGEST_BYTES] != _tree_digest(tree):
        raise ValueError("its digest does not match")
    return tree


def _tree_digest(tree: Any) -> bytes:
    leaves = jax.tree.leaves_with_path(tree)
    return bytes.fromhex(digest([(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]))


def digest(*parts: Any) -> str:
    """The SHA-256 digest, in hexadecimal, of texts and pytrees of arrays, to the last bit.

    >>> digest("program", np.zeros(2)) == digest("program", np.zeros(2))
    True
    """
    sha256 = hashlib.sha256()
    for leaf in jax.tree.leaves(parts):
        array = np.frombuffer(leaf.encode(), np.uint8) if isinstance(leaf, str) else to_numpy(leaf)
        sha256.update(f"{array.dtype}{array.shape}".encode())
        sha256.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return sha256.hexdigest()
