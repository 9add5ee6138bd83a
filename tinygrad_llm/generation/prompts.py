"""Prompts of different lengths in one array: padded on the left, so that all end together."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.data.tokens import check_ids
from tinygrad_llm.errors import DataError
from tinygrad_llm.tensor import Tensor


@dataclass(frozen=True)
class Prompts:
    """ids (B, T) int64; the last lengths[b] ids of row b are its prompt, those before padding."""

    ids: np.ndarray
    lengths: np.ndarray  # (B,) int64, all >= 1

    @property
    def width(self) -> int:
        return self.ids.shape[1]

    def __len__(self) -> int:
        return len(self.ids)


def prepare(
    input_ids: Any,
    attention_mask: Any = None,
    vocab_size: int | None = None,
    pad_token_id: int = 0,
    padding_marked: bool = False,
) -> Prompts:
    """Prompts from what users have: an array or Tensor (B, T), one prompt (T,), or lists of ids.

    Lists may have different lengths and are padded here with pad_token_id. An array is taken to
    be padded where attention_mask (B, T) is 0, which may only be on the left; without a mask,
    where its rows begin with pad_token_id, if padding_marked says that this id means nothing else.
    """
    padding_marked = padding_marked and not isinstance(input_ids, list | tuple)
    ids = _array(input_ids)
    if isinstance(ids, list):
        if attention_mask is not None:
            raise ValueError(
                "generate: attention_mask does not go with prompts of different lengths in a "
                "list; leave it out, they are padded and masked for you"
            )
        rows = [np.asarray(row) for row in ids]
        for row in rows:
            _check_row(row, vocab_size)
        lengths = np.array([len(row) for row in rows])
        padded = np.full((len(rows), lengths.max()), pad_token_id, np.int64)
        for row, target in zip(rows, padded, strict=True):
            target[len(target) - len(row) :] = row
        return Prompts(padded, lengths)

    if ids.ndim == 1:
        ids = ids[None]
        padding_marked = False
        if attention_mask is not None and np.ndim(attention_mask) == 1:
            attention_mask = np.asarray(attention_mask)[None]
    if ids.ndim != 2 or len(ids) == 0:
        raise ValueError(
            f"generate: input_ids of shape {ids.shape} are not accepted; use (batch, tokens), or "
            f"(tokens,) for one prompt"
        )
    if attention_mask is not None:
        lengths = _lengths(attention_mask, ids.shape)
    elif padding_marked:
        lengths = np.cumprod(ids == pad_token_id, axis=1).sum(axis=1)
        lengths = ids.shape[1] - np.where(lengths == ids.shape[1], 0, lengths)
    else:
        lengths = np.full(len(ids), ids.shape[1])
    for row, length in zip(ids, lengths, strict=True):
        _check_row(row[len(row) - length :], vocab_size)
    # What stands in the padding is never looked at, but the model must be able to embed it.
    places = np.arange(ids.shape[1])
    ids = np.where(places < ids.shape[1] - lengths[:, None], pad_token_id, ids)
    return Prompts(ids.astype(np.int64), lengths)


def _array(input_ids: Any) -> Any:
    """An array, or a list of rows if these have different lengths."""
    if isinstance(input_ids, str):
        raise TypeError(
            "generate: input_ids is a str; encode it first, tokenizer.encode(text), or use "
            "generate_text(model, tokenizer, text)"
        )
    if isinstance(input_ids, Tensor):
        return input_ids.numpy()
    if isinstance(input_ids, list | tuple) and input_ids:
        rows = [row.numpy() if isinstance(row, Tensor) else row for row in input_ids]
        if all(np.ndim(row) == 1 for row in rows) and len({len(row) for row in rows}) > 1:
            return rows
        return np.asarray(rows)
    return np.asarray(input_ids)


def _check_row(row: np.ndarray, vocab_size: int | None) -> None:
    if row.size == 0:
        raise DataError(
            "generate: the prompt is empty; a model needs at least one token to begin with, such "
            "as the end-of-text token (<|endoftext|>) or a new line"
        )
    # Without a vocabulary size only the dtype and the sign can be checked.
    check_ids(row, np.iinfo(np.int64).max if vocab_size is None else vocab_size, "generate")


def _lengths(attention_mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    mask = attention_mask.numpy() if isinstance(attention_mask, Tensor) else attention_mask
    mask = np.asarray(mask)
    if mask.shape != shape:
        raise ValueError(
            f"generate: attention_mask of shape {mask.shape} does not fit input_ids of shape "
            f"{shape}"
        )
    mask = mask != 0
    if (mask[:, :-1] & ~mask[:, 1:]).any():
        raise ValueError(
            "generate: attention_mask has a 0 after a 1; prompts are padded on the left, so that "
            "the text goes on where the prompt ends"
        )
    return mask.sum(axis=1)
