"""Batches: the right neighbours, repeatable from (seed, step) alone, and every token once."""

import math
import subprocess
import sys

import numpy as np
import pytest

from tinygrad_llm.data import batch, bits_per_character, evaluation_batches, split
from tinygrad_llm.errors import DataError


def test_split_is_nanogpt_s():
    tokens = np.arange(1_115_394)
    train, validation = split(tokens)
    assert len(train) == 1_003_854  # as its README has it for Tiny Shakespeare
    assert len(validation) == 111_540
    np.testing.assert_array_equal(np.concatenate([train, validation]), tokens)
    assert np.shares_memory(train, tokens)
    assert [len(part) for part in split(np.arange(7), 0)] == [7, 0]
    assert [len(part) for part in split(np.arange(7), 0.5)] == [3, 4]
    for share in (1, -0.1, math.nan):
        with pytest.raises(ValueError, match="validation="):
            split(tokens, share)


def test_targets_are_the_tokens_that_follow():
    tokens = np.arange(1000, 1100, dtype=np.uint16)
    inputs, targets = batch(tokens, 7, 13, seed=3, step=5)
    assert inputs.shape == targets.shape == (7, 13)
    assert inputs.dtype == targets.dtype == np.int64
    np.testing.assert_array_equal(targets, inputs + 1)
    np.testing.assert_array_equal(inputs[:, 1:], inputs[:, :-1] + 1)
    assert len(np.unique(inputs[:, 0])) > 3


def test_every_window_can_come_and_none_beyond():
    tokens = np.arange(10)
    starts = np.concatenate([batch(tokens, 50, 4, 0, step)[0][:, 0] for step in range(40)])
    counts = np.bincount(starts, minlength=6)
    assert len(counts) == 6  # 0 .. 5; the window from 5 has 9 as its last target
    # 2000 draws, 333 expected of each; five standard deviations.
    assert (abs(counts - 2000 / 6) < 5 * math.sqrt(2000 * 5 / 36)).all()


def test_seed_and_step_alone_decide():
    tokens = np.arange(5000)
    first = batch(tokens, 4, 8, 1, 2)[0]
    batch(tokens, 4, 8, 9, 9)
    np.random.default_rng(0).random()
    np.testing.assert_array_equal(batch(tokens, 4, 8, 1, 2)[0], first)
    others = [batch(tokens, 4, 8, seed, step)[0] for seed, step in [(1, 3), (2, 2), (2, 1), (0, 2)]]
    for other in others:
        assert (other != first).any()
    big = batch(tokens, 4, 8, 2**64 - 1, 2**64 - 1)[0]
    assert big.shape == (4, 8)


def test_batches_are_the_same_in_every_process_and_version():
    # Written down once: Philox's raw numbers are promised to stay, in NumPy and everywhere.
    inputs, _ = batch(np.arange(1_000_003), 5, 2, seed=1337, step=42)
    assert inputs[:, 0].tolist() == EXPECTED_STARTS
    code = (
        "import numpy as np\nfrom tinygrad_llm.data import batch\n"
        "print(batch(np.arange(1_000_003), 5, 2, seed=1337, step=42)[0][:, 0].tolist())\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout == f"{EXPECTED_STARTS}\n"


def philox_4x64_10(counter, key):
    """Salmon et al. 2011, in plain integers: an independent spelling of what NumPy does."""
    mask = 2**64 - 1
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(p1 >> 64) ^ c[1] ^ k[0], p1 & mask, (p0 >> 64) ^ c[3] ^ k[1], p0 & mask]
        k = [(k[0] + 0x9E3779B97F4A7C15) & mask, (k[1] + 0xBB67AE8584CAA73B) & mask]
    return c


# NumPy raises the counter before each block, so the first block has counter 1.
_RAW = philox_4x64_10((1, 0, 0, 0), (1337, 42)) + philox_4x64_10((2, 0, 0, 0), (1337, 42))
EXPECTED_STARTS = [number % 1_000_001 for number in _RAW[:5]]


def test_the_shortest_text():
    inputs, targets = batch(np.arange(5), 3, 4, 0, 0)
    np.testing.assert_array_equal(inputs, [[0, 1, 2, 3]] * 3)
    np.testing.assert_array_equal(targets, [[1, 2, 3, 4]] * 3)
    message = "the text has 4 tokens, too few for a context of 4: at least 5 are needed"
    with pytest.raises(DataError, match=message):
        batch(np.arange(4), 3, 4, 0, 0)
    with pytest.raises(DataError, match="has 0 tokens"):
        batch(np.arange(0), 3, 4, 0, 0)


@pytest.mark.parametrize(
    "arguments", [(0, 4, 0, 0), (3, 0, 0, 0), (3, 4, -1, 0), (3, 4, 0, -1), (3, 4, 2**64, 0)]
)
def test_mistakes_in_arguments(arguments):
    with pytest.raises(ValueError, match="batch: "):
        batch(np.arange(100), *arguments)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 9, 12, 13, 25, 97])
@pytest.mark.parametrize(("batch_size", "context"), [(1, 1), (1, 4), (3, 1), (3, 4), (2, 100)])
@pytest.mark.parametrize("before", [None, 7])
def test_every_token_is_a_target_once_and_in_order(n, batch_size, context, before):
    tokens = (np.arange(n) + 100).astype(np.uint16)
    if before is None and n == 1:
        with pytest.raises(DataError, match="a text of 1 tokens has nothing to predict"):
            evaluation_batches(tokens, batch_size, context)
        return
    row = np.concatenate([[] if before is None else [before], tokens]).astype(np.int64)
    batches = list(evaluation_batches(tokens, batch_size, context, before=before))
    for inputs, targets in batches:
        assert inputs.dtype == targets.dtype == np.int64
        assert inputs.shape == targets.shape
        assert inputs.shape[0] <= batch_size
        assert inputs.shape[1] <= context
    np.testing.assert_array_equal(np.concatenate([x.ravel() for x, _ in batches]), row[:-1])
    np.testing.assert_array_equal(np.concatenate([y.ravel() for _, y in batches]), row[1:])
    # As few batches as can be: full ones, one with fewer rows, and the last window.
    windows, rest = divmod(len(row) - 1, context)
    assert len(batches) == -(-windows // batch_size) + (rest > 0)


def test_evaluation_batches_says_its_mistakes_at_once():
    with pytest.raises(ValueError, match="context=0"):
        evaluation_batches(np.arange(9), 1, 0)
    with pytest.raises(DataError, match="a text of 0 tokens"):
        evaluation_batches(np.arange(0), 1, 4)
    with pytest.raises(DataError, match="a text of 0 tokens"):
        evaluation_batches(np.arange(0), 1, 4, before=3)


def test_bits_per_character():
    assert bits_per_character(math.log(2), 10, 10) == pytest.approx(1)
    # 8 equally likely characters have 3 bits each, and pairs of them have 6 bits a token.
    assert bits_per_character(math.log(8), 100, 100) == pytest.approx(3)
    assert bits_per_character(math.log(64), 50, 100) == pytest.approx(3)
    with pytest.raises(ValueError, match="n_characters=0"):
        bits_per_character(1.0, 1, 0)
