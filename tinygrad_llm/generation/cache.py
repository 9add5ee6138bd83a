"""The KV cache: what attention has already computed of the tokens before.

A token looks back at the keys and values of all tokens before it. Those do not change when more
tokens come (the mask is causal), so they are kept, and one new token costs one token's work, not
that of the whole text again. Plain arrays in and out; no gradients go through a cache.

Letters in the shapes: B sequences, H heads, T new tokens, S tokens in all, D channels of a head.
"""

from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray

_FIRST_ROOM = 64  # tokens, where nobody says how many will come


class KVCache:
    """Keys and values (B, H, S, D) of every layer, in arrays with room for more than S.

    max_length: how many tokens to make room for at once. If more come, the room is doubled, so
    that copying costs a constant amount per token; memory that is never written is never used.
    """

    def __init__(self, n_layers: int, batch_size: int, max_length: int | None = None):
        if n_layers < 1 or batch_size < 1:
            raise ValueError(
                f"KVCache: n_layers={n_layers}, batch_size={batch_size} are not accepted; use at "
                f"least 1"
            )
        self.batch_size = batch_size
        self.length = 0  # S: tokens that all layers hold
        self._room = _FIRST_ROOM if max_length is None else max(max_length, 1)
        self._keys: list[Array | None] = [None] * n_layers
        self._values: list[Array | None] = [None] * n_layers

    @property
    def n_layers(self) -> int:
        return len(self._keys)

    def update(self, key: Array, value: Array, layer: int) -> tuple[Array, Array]:
        """Add the keys and values (B, H, T, D) of T tokens; return those of all tokens so far.

        The two arrays (B, H, S + T, D) are views that stay valid until the next update. Layers
        are updated in their order, each once: `length` grows when the last one has come, so that
        a pass that breaks off half-way (Ctrl-C) leaves the cache as it was.
        """
        if key.shape[:3] != value.shape[:3] or key.ndim != 4 or len(key) != self.batch_size:
            raise ValueError(
                f"KVCache.update: key {key.shape} and value {value.shape} are not accepted; use "
                f"(batch_size={self.batch_size}, heads, tokens, channels)"
            )
        end = self.length + key.shape[2]
        keys = self._keys[layer] = self._with_room(self._keys[layer], key, end)
        values = self._values[layer] = self._with_room(self._values[layer], value, end)
        keys[:, :, self.length : end] = key
        values[:, :, self.length : end] = value
        if layer == self.n_layers - 1:
            self.length = end
        return keys[:, :, :end], values[:, :, :end]

    def reorder(self, indices: Any) -> None:
        """Row b becomes what row indices[b] was; rows may repeat, fall away or be added.

        Beam search drops weak beams and doubles strong ones; sampling drops finished sequences.
        """
        indices = np.asarray(indices)
        if len(indices) != self.batch_size:
            self._keys, self._values = (
                [None if a is None else self._rows(a, indices) for a in arrays]
                for arrays in (self._keys, self._values)
            )
            self.batch_size = len(indices)
            return
        moved = np.flatnonzero(indices != np.arange(len(indices)))
        if len(moved):
            for array in self._held():
                # Indexing with an array copies before anything is written: no row is lost.
                array[moved, :, : self.length] = array[indices[moved], :, : self.length]

    def replace(self, rows: Any, other: "KVCache") -> None:
        """The last `other.length` tokens of the given rows become those that `other` holds.

        Row i of other goes to rows[i]. What stood before those tokens is left as it is, and has
        to be masked: the row now has a shorter past.
        """
        start = self.length - other.length
        if start < 0:
            raise ValueError(
                f"KVCache.replace: other holds {other.length} tokens, but here are {self.length}"
            )
        for mine, theirs in zip(self._held(), other._held(), strict=True):
            mine[rows, :, start : self.length] = theirs[:, :, : other.length]

    def crop(self, length: int) -> None:
        """Keep the first `length` tokens and forget the others."""
        self._check(length, "crop")
        self.length = length

    def keep_last(self, length: int) -> None:
        """Keep the last `length` tokens and forget those before."""
        self._check(length, "keep_last")
        if length < self.length:
            for array in self._held():
                array[:, :, :length] = array[:, :, self.length - length : self.length].copy()
            self.length = length

    def reset(self) -> None:
        """Forget all tokens. The room stays."""
        self.length = 0

    def _check(self, length: int, where: str) -> None:
        if not 0 <= length <= self.length:
            raise ValueError(
                f"KVCache.{where}: length={length} is not accepted; use 0 to {self.length}, the "
                f"tokens in the cache"
            )

    def _held(self) -> list[Array]:
        return [array for array in (*self._keys, *self._values) if array is not None]

    def _rows(self, array: Array, indices: np.ndarray) -> Array:
        shape = (len(indices), *array.shape[1:])
        chosen = np.empty_like(array, shape=shape)
        chosen[:, :, : self.length] = array[indices, :, : self.length]
        return chosen

    def _with_room(self, array: Array | None, new: Array, end: int) -> Array:
        """`array`, or a larger copy of it, with at least `end` places for tokens like `new`."""
        if array is not None and end <= array.shape[2]:
            return array
        room = max(end, self._room if array is None else 2 * array.shape[2])
        shape = (self.batch_size, new.shape[1], room, new.shape[3])
        larger = np.empty_like(new, shape=shape)  # on the device of `new`
        if array is not None:
            larger[:, :, : self.length] = array[:, :, : self.length]
        return larger
