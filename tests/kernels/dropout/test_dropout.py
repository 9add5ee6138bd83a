import numpy as np
import pytest

from tinygrad_llm.kernels.dropout.bits import positions, random_bits, stream_key, threshold

OPERATION = "dropout"


def by_hand(position, seed, stream):
    """The formula in the docstring of bits.py, on Python integers."""
    mask, golden = 0xFFFFFFFF, 0x9E3779B9
    key0, key1 = stream_key(seed, stream)
    x = (position & mask) ^ key0
    x ^= x >> 16
    x = x * 0x7FEB352D & mask
    x ^= (key1 + (position >> 32) * golden) & mask
    x ^= x >> 15
    x = x * 0x846CA68B & mask
    return x ^ (x >> 16)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(1,), (31,), (5, 33), (2, 3, 127), (70_001,), ()])
def test_every_element_follows_the_published_formula(kernels, shape, p):
    x = np.asarray(1.0 + np.arange(np.prod(shape, dtype=int)).reshape(shape))
    out = kernels.dropout_forward(x, p, 3, 8).reshape(-1)
    for i in {0, out.size // 2, out.size - 1, min(40_000, out.size - 1)}:
        kept = by_hand(i, 3, 8) >= round(p * 2**32)
        np.testing.assert_allclose(out[i], x.reshape(-1)[i] / (1 - p) if kept else 0, rtol=1e-15)


def test_positions_beyond_32_bits():
    far = np.array([5, 2**32 + 5, 2**33 + 5], np.int64)
    bits = random_bits(far, stream_key(1, 2))
    assert bits.dtype == np.uint32
    assert bits.tolist() == [by_hand(int(i), 1, 2) for i in far]
    assert len(set(bits.tolist())) == 3
    assert positions(0, 3).dtype == np.uint32
    assert positions(2**32 - 1, 2**32 + 1).tolist() == [2**32 - 1, 2**32]


def test_backward_uses_the_same_mask(kernels, random):
    x = random.standard_normal((64, 33)).astype(np.float32)
    out = kernels.dropout_forward(x, 0.3, 1, 2)
    dx = kernels.dropout_backward(np.ones_like(x), 0.3, 1, 2)
    np.testing.assert_array_equal(dx == 0, out == 0)
    np.testing.assert_allclose(dx[dx != 0], 1 / 0.7, rtol=1e-6)


def test_nothing_and_everything(kernels):
    x = np.arange(1.0, 5.0)
    np.testing.assert_array_equal(kernels.dropout_forward(x, 0.0, 1, 1), x)
    np.testing.assert_array_equal(kernels.dropout_forward(x, 1.0, 1, 1), np.zeros(4))
    assert threshold(0.0) == 0
    assert threshold(0.25) == 2**30


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_the_share_of_zeros_is_p_everywhere(kernels, p):
    """In the whole, in rows, in columns, and over streams: within 5 standard deviations."""
    n = 400
    dropped = kernels.dropout_forward(np.ones((n, n), np.float32), p, 7, 1) == 0

    def z(share, count):
        return np.abs(share - p) / np.sqrt(p * (1 - p) / count)

    assert z(dropped.mean(), n * n) < 5
    assert z(dropped.mean(axis=0), n).max() < 5
    assert z(dropped.mean(axis=1), n).max() < 5
    same_place = [kernels.dropout_forward(np.ones(3), p, 7, s)[1] == 0 for s in range(2000)]
    assert z(np.mean(same_place), 2000) < 5


def test_neighbours_rows_streams_and_seeds_are_independent():
    """Each pair of masks agrees in half of its places: within 5 standard deviations."""
    n = 1 << 16

    def mask(seed, stream):
        return random_bits(positions(0, n), stream_key(seed, stream)) >= threshold(0.5)

    first = mask(1, 1)
    others = [mask(1, 2), mask(2, 1), mask(1, 1 + 2**32), mask(1 + 2**64, 1), mask(0, 0)]
    others += [np.roll(first, shift) for shift in (1, 2, 64, 256, 4096)]
    for other in others:
        assert abs((first == other).mean() - 0.5) < 5 * 0.5 / np.sqrt(n)
    # All 32 bits are fair, and none follows another.
    bits = random_bits(positions(0, n), stream_key(1, 1))
    unpacked = (bits[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    assert np.abs(unpacked.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(n)
    correlation = np.corrcoef(unpacked.T.astype(float)) - np.eye(32)
    assert np.abs(correlation).max() < 5 / np.sqrt(n)


def test_flipping_one_bit_of_the_position_flips_each_output_bit_half_of_the_time():
    n = 1 << 14
    key = stream_key(5, 5)
    base = positions(0, n)
    before = random_bits(base, key)
    for bit in range(32):
        changed = before ^ random_bits(base ^ np.uint32(1 << bit), key)
        flips = ((changed[:, None] >> np.arange(32, dtype=np.uint32)) & 1).mean(axis=0)
        assert np.abs(flips - 0.5).max() < 0.05, bit


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtype_strides_and_empty(kernels, random, unchanged, dtype):
    x = random.standard_normal((5, 6)).astype(dtype).T[::2]
    with unchanged(x):
        out = kernels.dropout_forward(x, 0.5, 1, 1)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, kernels.dropout_forward(x.copy(), 0.5, 1, 1))
    assert kernels.dropout_forward(np.zeros((0, 3), dtype), 0.5, 1, 1).shape == (0, 3)
