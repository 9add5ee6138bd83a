"""KVCache against the simplest cache there is: lists that are concatenated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.generation import KVCache

LAYERS, BATCH, HEADS, CHANNELS, VALUES = 2, 3, 4, 5, 6


def _tokens(random, count, batch=BATCH):
    return (
        random.normal(size=(batch, HEADS, count, CHANNELS)).astype("f4"),
        random.normal(size=(batch, HEADS, count, VALUES)).astype("f4"),
    )


class Model:
    """The same, without any cleverness: one list of arrays (B, H, S, D) for each layer."""

    def __init__(self):
        self.parts = [
            [np.zeros((BATCH, HEADS, 0, d), "f4") for d in (CHANNELS, VALUES)]
            for _ in range(LAYERS)
        ]

    def each(self, change):
        self.parts = [[change(array) for array in layer] for layer in self.parts]

    @property
    def shape(self):
        return self.parts[0][0].shape


def _fill(cache, random, count, model=None):
    for layer in range(cache.n_layers):
        new = _tokens(random, count, cache.batch_size)
        out = cache.update(*new, layer)
        if model is not None:
            model.parts[layer] = [
                np.concatenate(pair, axis=2) for pair in zip(model.parts[layer], new, strict=True)
            ]
            for mine, expected in zip(out, model.parts[layer], strict=True):
                np.testing.assert_array_equal(mine, expected)
    return cache


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["update", "reorder", "crop", "last", "replace", "reset"]),
                  st.integers(0, 10**6)),
        max_size=12,
    ),
    max_length=st.sampled_from([None, 1, 3, 100]),
)  # fmt: skip
def test_any_sequence_of_operations(steps, max_length):
    cache, model = KVCache(LAYERS, BATCH, max_length), Model()
    for step, seed in steps:
        random = np.random.default_rng(seed)
        rows, _, length, _ = model.shape
        if step == "update":
            _fill(cache, random, int(random.integers(0, 90 if seed % 7 == 0 else 4)), model)
        elif step == "reorder":
            new_rows = rows if seed % 2 else int(random.integers(1, 6))
            indices = random.integers(rows, size=new_rows)
            cache.reorder(indices)
            model.each(lambda a, i=indices: a[i])
        elif step == "crop":
            n = int(random.integers(length + 1))
            cache.crop(n)
            model.each(lambda a, n=n: a[:, :, :n])
        elif step == "last":
            n = int(random.integers(length + 1))
            cache.keep_last(n)
            model.each(lambda a, n=n: a[:, :, a.shape[2] - n :])
        elif step == "replace" and length:
            chosen = random.permutation(rows)[: random.integers(1, rows + 1)]
            n = int(random.integers(1, length + 1))
            other = KVCache(LAYERS, len(chosen))
            fresh = [_tokens(random, n, len(chosen)) for _ in range(LAYERS)]
            for layer, new in enumerate(fresh):
                other.update(*new, layer)
            cache.replace(chosen, other)
            for layer, new in zip(model.parts, fresh, strict=True):
                for array, values in zip(layer, new, strict=True):
                    array[chosen, :, length - n :] = values
        elif step == "reset":
            cache.reset()
            model.each(lambda a: a[:, :, :0])
        assert cache.length == model.shape[2]
        assert cache.batch_size == model.shape[0]
    _fill(cache, np.random.default_rng(1), 2, model)  # compares all that is held


def test_what_is_returned_is_a_view_not_a_copy():
    cache = KVCache(1, BATCH, 50)
    random = np.random.default_rng(0)
    first, _ = cache.update(*_tokens(random, 3), 0)
    second, _ = cache.update(*_tokens(random, 2), 0)
    assert np.shares_memory(first, second)
    assert second.shape == (BATCH, HEADS, 5, CHANNELS)


def test_the_arguments_are_copied_in():
    cache = KVCache(1, BATCH)
    key, value = _tokens(np.random.default_rng(0), 3)
    held, _ = cache.update(key, value, 0)
    before = held.copy()
    key[:] = 0
    np.testing.assert_array_equal(held, before)


def test_the_room_is_doubled_so_that_copies_are_few():
    cache = KVCache(1, 1)
    rooms = set()
    for _ in range(1000):
        key = np.zeros((1, 1, 1, 1), "f4")
        held, _ = cache.update(key, key, 0)
        rooms.add(held.base.shape[2])
    assert rooms == {64, 128, 256, 512, 1024}


def test_max_length_is_room_for_so_many_tokens():
    cache = KVCache(1, 1, 10)
    key = np.zeros((1, 1, 7, 2), "f4")
    assert cache.update(key, key, 0)[0].base.shape[2] == 10


def test_a_pass_that_breaks_off_leaves_the_cache_as_it_was():
    random = np.random.default_rng(0)
    cache, model = KVCache(LAYERS, BATCH), Model()
    _fill(cache, random, 3, model)
    cache.update(*_tokens(random, 2), 0)  # layer 1 never comes
    assert cache.length == 3
    _fill(cache, random, 4, model)


def test_dtype_is_that_of_the_keys():
    cache = KVCache(1, 1)
    key = np.zeros((1, 2, 3, 4), np.float64)
    assert cache.update(key, key.astype("f2"), 0)[0].dtype == np.float64
    assert cache.update(key, key.astype("f2"), 0)[1].dtype == np.float16


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.crop(4), r"crop: length=4 is not accepted; use 0 to 3"),
        (lambda c: c.crop(-1), r"crop: length=-1"),
        (lambda c: c.keep_last(5), r"keep_last: length=5 is not accepted; use 0 to 3"),
        (lambda c: c.update(*_tokens(np.random.default_rng(0), 1, 1), 0), r"batch_size=3"),
        (lambda c: c.update(np.zeros((3, 4, 2, 5)), np.zeros((3, 4, 1, 5)), 0), r"\(3, 4, 1, 5\)"),
        (lambda c: c.update(np.zeros((3, 4)), np.zeros((3, 4)), 0), r"key \(3, 4\)"),
        (
            lambda c: c.replace([0], _fill(KVCache(LAYERS, 1), np.random.default_rng(0), 4)),
            r"other holds 4 tokens, but here are 3",
        ),
        (lambda c: KVCache(0, 1), "n_layers=0"),
        (lambda c: KVCache(1, 0), "batch_size=0"),
    ],
)
def test_mistakes_are_named(call, message):
    cache = _fill(KVCache(LAYERS, BATCH), np.random.default_rng(0), 3)
    with pytest.raises(ValueError, match=message):
        call(cache)
