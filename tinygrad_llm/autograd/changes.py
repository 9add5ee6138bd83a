"""Which memory was changed in place, and when.

backward works with arrays that forward saved. If one was overwritten in between, its gradient
would be wrong without a sign. So every change in place is written down here under the memory it
touched (all views of it included), with the number of changes so far as the clock. An operation
notes the time at which it ran, as `born`; nothing else has to be kept per tensor.

    x = w * 1           clock 0; w is a leaf that requires a gradient
    y = x * x           clock 0: the product keeps x for its backward, born = 0
    x += 1              clock 1: the memory of x is noted with time 1
    y.sum().backward()  the memory of x has time 1, later than born = 0: RuntimeError

There are two books. `written` has every change, for the arrays that operations saved: the example
above, and also `x += 1` under no_grad(). `recorded` has only the changes that entered a graph, for
views: after `v = x[:1]; x += w`, v shows the new values but has the history of the old ones, so
using v is an error. Under no_grad() the history of v would still be right, and v may be used.
"""

from __future__ import annotations

import functools
import threading
import weakref
from typing import Any

Array = Any


def owner(array: Array) -> Array:
    """The array whose memory `array` shows: itself, or what it is a view of."""
    base = array.base
    while base is not None:
        if hasattr(base, "dtype"):  # it may also be bytes, a memory map, ...
            array = base
        base = getattr(base, "base", None)
    return array


Book = dict[int, tuple["weakref.ref[Any]", int, str]]


def _forget(book: Book, key: int, _: object) -> None:
    book.pop(key, None)


class Changes:
    """The changes in place of all memory that is still alive."""

    def __init__(self) -> None:
        self.now = 0
        self.lock = threading.Lock()
        # Every change: id of the owning array -> (reference that removes the entry, time, what was
        # done)
        self.written: Book = {}
        # The same for changes that became part of a graph (x += y with gradients recorded).
        self.recorded: Book = {}

    def mark(self, array: Array, how: str, recorded: bool = False) -> None:
        """Note that the memory behind `array` was changed by `how`, just now."""
        memory = owner(array)
        key = id(memory)
        with self.lock:
            self.now += 1
            for book in (self.written, self.recorded) if recorded else (self.written,):
                # The entry goes with the memory: its id may then name another array.
                reference = weakref.ref(memory, functools.partial(_forget, book, key))
                book[key] = (reference, self.now, how)

    def since(self, array: Array, time: int) -> str | None:
        """What changed the memory behind `array` after `time`, if anything did."""
        entry = self.written.get(id(owner(array)))
        return entry[2] if entry is not None and entry[1] > time else None

    def check_history(self, x: Any) -> None:
        """Raise if x shows memory whose history was changed through another tensor."""
        entry = self.recorded.get(id(owner(x.array)))
        if entry is not None and entry[1] > x.born:
            raise RuntimeError(
                f"a tensor of shape {x.array.shape} is used after memory that it shares was "
                f"changed in place ({entry[2]}) through another tensor, with gradients recorded; "
                f"its own history does not know of that. Take the view again after the change, or "
                f"write the change out of place (y = x + 1 instead of x += 1)."
            )


changes = Changes()
