"""What the model reads of a text to guess the next token, with a cache and without, also when
the text has outgrown the model's context.

A model with learned positions has n_positions of them. When the text is longer, it can read only
the end of it. To read exactly the last n_positions tokens each time would be simple, and slow:
with every new token each of the others moves to another position, so that all cached keys and
values, which depend on the positions (and on tokens that are no longer read), become worthless.
Therefore the window slides in large steps: when it is full, it shrinks to its latter half, which
is read again, and then it grows, token by token. Half a window is read again for each half window
that is written, in all one more token a token: time per token stays flat. How much is read depends
on the length of the text alone, so that the slow path, the fast one, and a run that continues what
another wrote, agree.
"""

from typing import Any

import numpy as np

from tinygrad_llm.autograd import no_grad
from tinygrad_llm.errors import CheckpointError
from tinygrad_llm.generation.prompts import Prompts

_ROOM = 1024  # tokens, in the cache of a model without a limit; it grows


def window_length(length: Any, n_positions: int | None) -> Any:
    """How many tokens, counted from the end, are read of texts of `length` tokens (int or array).

    With 8 positions: 1 2 3 4 5 6 7 8, then 4 5 6 7 8, and 4 5 6 7 8 again.
    """
    if n_positions is None:
        return length
    half = (n_positions + 1) // 2
    beyond = (length - n_positions - 1) % (n_positions - half + 1)
    return np.where(length <= n_positions, length, half + beyond)


class Inference:
    """`with Inference(model):` no gradients and no dropout; afterwards all is as it was before.

    May be entered again and again, but not while it is entered.
    """

    def __init__(self, model: Any):
        modules = getattr(model, "modules", None)
        self._modules = list(modules()) if callable(modules) else []
        self._training: list[bool] = []
        self._no_grad = no_grad()

    def __enter__(self) -> None:
        self._no_grad.__enter__()
        # Each module's own switch is restored: some may have been frozen in evaluation mode.
        self._training = [module.training for module in self._modules]
        for module in self._modules:
            module.training = False

    def __exit__(self, *error: object) -> None:
        for module, training in zip(self._modules, self._training, strict=True):
            module.training = training
        self._no_grad.__exit__(*error)


class Reader:
    """N growing texts, and the model's logits for the next token of each.

    Every prompt has `copies` rows, one after the other; it is read once for all of them.
    The rows end together: text n is the last lengths[n] of ids[n, :width], the rest padding.
    """

    def __init__(
        self, model: Any, prompts: Prompts, copies: int, new_tokens: int, use_cache: bool = True
    ):
        self.model = model
        self.width = prompts.width
        self.lengths = prompts.lengths  # (N,)
        self._ids = np.empty((len(prompts), self.width + new_tokens), np.int64)
        self._ids[:, : self.width] = prompts.ids
        self._copies = copies
        self._n_positions = context_limit(model)
        longest = self.width + new_tokens - 1  # the last token is written, but not read
        self._room = min(longest, self._n_positions or _ROOM)
        self._windows = np.full(len(prompts), -1)  # tokens of each row that were read last
        # A model that keeps nothing reads the last n_positions tokens each time.
        self._slides = self._new_cache(1) is not None
        self._use_cache = use_cache and self._slides
        self._cache: Any = None

    @property
    def ids(self) -> np.ndarray:
        """(N, width): the texts so far."""
        return self._ids[:, : self.width]

    @property
    def padding(self) -> np.ndarray | None:
        """(N,): how many ids at the start of each row are padding; None if there are none."""
        padding = self.width - self.lengths
        return padding if padding.any() else None

    def read(self) -> np.ndarray:
        """The logits (N, V) of the next token. To be called once after each `append`."""
        before, self._windows = self._windows, self._window_lengths()
        if not self._use_cache:
            logits = self._read_columns(int(self._windows.max()))
        else:
            # Text grows by one token: a window that did not has slid.
            logits = self._read_cached(self._windows != before + 1)
        _check_finite(logits)
        if self._copies > 1:
            copies = np.repeat(np.arange(len(self._ids)), self._copies)
            self._copies = 1
            self.select(copies)
            logits = logits[copies]
        # Half precision is for the model; sums over a vocabulary want more, as in transformers.
        return logits if logits.dtype == np.float64 else logits.astype(np.float32, copy=False)

    def append(self, tokens: np.ndarray) -> None:
        """Add one token (N,) to each text."""
        self._ids[:, self.width] = tokens
        self.width += 1
        self.lengths = self.lengths + 1

    def select(self, rows: np.ndarray) -> None:
        """Text n becomes what text rows[n] was; texts may repeat or fall away."""
        if len(rows) == len(self._ids) and (rows == np.arange(len(rows))).all():
            return
        self._ids = self._ids[rows]
        self.lengths = self.lengths[rows]
        self._windows = self._windows[rows]
        if self._cache is not None:
            self._cache.reorder(rows)

    def _window_lengths(self) -> np.ndarray:
        if not self._slides and self._n_positions is not None:
            return np.minimum(self.lengths, self._n_positions)
        return window_length(self.lengths, self._n_positions)

    def _read_cached(self, slid: np.ndarray) -> np.ndarray:
        """Read what the cache lacks: one token of each row, or more of those that slid (N,).

        Two rows and 4 positions; row 0 was full and slides with its fifth token, e. What the cache
        holds, `.` being masked:

            row 0      row 1
            a b c d    . p q r    before
              b c d      p q r    keep_last(3): no text reaches further back than 4 with the new one
            . . d e    p q r s    one column read; d is wrong: it was read at position 3, not 0
            . . d e    p q r s    d e read again, at positions 0 and 1, and put in with `replace`
        """
        widest = int(self._windows.max())
        # Caches of other kinds than ours cannot mend single rows: they begin again, for all.
        mendable = hasattr(self._cache, "replace") and hasattr(self._cache, "keep_last")
        if slid.all() or (slid.any() and not mendable):
            self._cache = self._new_cache(len(self._ids))
            return self._read_columns(widest, self._cache)
        if mendable and self._cache.length >= widest:
            # No text reaches as far back as the cache does: the longest has slid or has ended.
            self._cache.keep_last(widest - 1)
        logits = self._read_columns(1, self._cache, self._cache.length)
        if slid.any():
            # Those that slid took part with a past that is theirs no more. They are read again by
            # themselves (their windows are equally long), and put into the place of that.
            rows = np.flatnonzero(slid)
            again = self._new_cache(len(rows))
            logits = logits.copy()
            logits[rows] = self._read_columns(int(self._windows[rows[0]]), again, rows=rows)
            self._cache.replace(rows, again)
        return logits

    def _read_columns(
        self, columns: int, cache: Any = None, cached: int = 0, rows: Any = slice(None)
    ) -> np.ndarray:
        """Give the last `columns` ids of some rows to the model, whose cache holds `cached`."""
        windows = self._windows[rows]
        total = cached + columns
        mask = None
        if (windows != total).any():
            mask = (np.arange(total) >= total - windows[:, None]).astype(np.int64)  # (N, total)
        ids = self._ids[rows, self.width - columns : self.width]
        return self.model.next_token_logits(ids, attention_mask=mask, cache=cache)

    def _new_cache(self, rows: int) -> Any:
        new_cache = getattr(self.model, "new_cache", None)
        return None if new_cache is None else new_cache(rows, self._room)


def _check_finite(logits: np.ndarray) -> None:
    greatest = logits.max(axis=-1)  # NaN if there is one
    if not np.isfinite(greatest).all():
        row = int(np.argmin(np.isfinite(greatest)))
        raise CheckpointError(
            f"generate: the model's greatest logit is {greatest[row]} (text {row}), so no token "
            f"can be chosen; its weights are probably not finite"
        )


def context_limit(model: Any) -> int | None:
    """The longest text that the model can read; None if there is no limit."""
    config = getattr(model, "config", None)
    if "n_positions" in getattr(config, "free", ()):
        return None  # the window that a recurrent network was trained on, and may be changed
    return getattr(config, "n_positions", None)
