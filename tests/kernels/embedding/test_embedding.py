import numpy as np
import pytest

OPERATION = "embedding"


@pytest.mark.parametrize("shape", [(1,), (3,), (), (4, 5), (2, 3, 4), (9000,)])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (7, 3), (3, 33)])
def test_values_and_slopes(kernels, random, shape, rows, columns):
    ids = np.asarray(random.integers(0, rows, shape))
    weight = random.standard_normal((rows, columns))
    out = kernels.embedding_forward(ids, weight)
    assert out.shape == (*shape, columns)
    np.testing.assert_array_equal(out, weight[ids])
    dout = random.standard_normal(out.shape)
    expected = np.zeros_like(weight)
    for position in np.ndindex(*shape):
        expected[ids[position]] += dout[position]
    dweight = kernels.embedding_backward(dout, ids, rows)
    np.testing.assert_allclose(dweight, expected, rtol=1e-12, atol=1e-12)


def test_the_same_bits_every_time(kernels, random):
    ids, dout = random.integers(0, 5, 4000), random.standard_normal((4000, 8)).astype(np.float32)
    first = kernels.embedding_backward(dout, ids, 5)
    for _ in range(3):
        np.testing.assert_array_equal(kernels.embedding_backward(dout, ids, 5), first)


def test_rows_that_are_not_used_get_zero(kernels):
    dweight = kernels.embedding_backward(np.ones((2, 3)), np.array([4, 4]), 6)
    np.testing.assert_array_equal(dweight, [[0] * 3] * 4 + [[2] * 3] + [[0] * 3])


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8])
def test_any_integer_dtype(kernels, dtype):
    ids, weight = np.array([[2, 0], [1, 2]], dtype), np.arange(6.0, dtype=np.float32).reshape(3, 2)
    out = kernels.embedding_forward(ids, weight)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, [[[4, 5], [0, 1]], [[2, 3], [4, 5]]])
    dweight = kernels.embedding_backward(out, ids, 3)
    assert dweight.dtype == np.float32
    np.testing.assert_array_equal(dweight, [[0, 1], [2, 3], [8, 10]])


def test_small_ids_of_a_wide_table(kernels):
    # 200 * 300 does not fit into uint8: the number of an element must not wrap around.
    ids = np.array([200], np.uint8)
    dweight = kernels.embedding_backward(np.ones((1, 300), np.float32), ids, 256)
    assert np.flatnonzero(dweight.any(axis=1)).tolist() == [200]


def test_empty(kernels):
    weight = np.ones((3, 2), np.float32)
    assert kernels.embedding_forward(np.zeros((0, 4), np.int64), weight).shape == (0, 4, 2)
    dweight = kernels.embedding_backward(np.zeros((0, 2), np.float32), np.zeros(0, np.int64), 3)
    np.testing.assert_array_equal(dweight, np.zeros((3, 2)))


def test_float16_sums_in_float32(kernels):
    ids, dout = np.zeros(4096, np.int64), np.ones((4096, 2), np.float16)
    dweight = kernels.embedding_backward(dout, ids, 2)
    assert dweight.dtype == np.float16
    np.testing.assert_array_equal(dweight, [[4096, 4096], [0, 0]])
