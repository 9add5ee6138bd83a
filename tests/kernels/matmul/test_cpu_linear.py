"""Products cut into slices: the same numbers as uncut, and BLAS's threads are left as found."""

import threading

import numpy as np
import pytest

from tinygrad_llm.kernels import _blas, _threads
from tinygrad_llm.kernels.matmul import cpu, reference

EPS = np.finfo(np.float32).eps
# (shape of x, out features): tall, wide, with remainders, thin; all cut into several pieces below
SIZES = [((300, 70), 90), ((70, 90), 300), ((3, 131, 33), 127), ((1000, 3), 31), ((65, 1000), 129)]

pytestmark = pytest.mark.skipif(not _blas.available(), reason="this NumPy's BLAS is not OpenBLAS")


@pytest.fixture(autouse=True)
def many_pieces(monkeypatch):
    monkeypatch.setattr(cpu, "SMALL", 0)
    monkeypatch.setattr(cpu, "CUTS", ((1 << 10, 2), (1 << 14, 4), (1 << 20, 8)))
    before = _threads.get_num_threads()
    _threads.set_num_threads(3)
    yield
    _threads.set_num_threads(before)


def numbers(shape, features, dtype=np.float32):
    random = np.random.default_rng([*shape, features])
    sizes = [shape, (features, shape[-1]), (features,), (*shape[:-1], features)]
    return [random.standard_normal(size).astype(dtype) for size in sizes]


def close(result, a, b, extra=0.0):
    """a @ b in float32: each of its K products and sums is off by eps/2 of what is added up."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    size = np.abs(a) @ np.abs(b) + np.abs(extra)
    bound = EPS * (a.shape[1] + 2) * size
    assert (np.abs(result.reshape(size.shape) - (a @ b + extra)) <= bound).all()


@pytest.mark.parametrize(("shape", "features"), SIZES)
def test_slices_make_the_whole(shape, features):
    x, weight, bias, dout = numbers(shape, features)
    assert len(cpu._product(x.reshape(-1, shape[-1]), weight.T, dout.reshape(-1, features))) > 1
    xs, douts = x.reshape(-1, shape[-1]), dout.reshape(-1, features)
    close(cpu.linear_forward(x, weight), xs, weight.T)
    close(cpu.linear_forward(x, weight, bias), xs, weight.T, bias)
    dx, dweight, dbias = cpu.linear_backward(dout, x, weight)
    assert (dx.shape, dweight.shape, dbias.shape) == (x.shape, weight.shape, bias.shape)
    close(dx, douts, weight)
    close(dweight, douts.T, xs)
    close(dbias, np.ones((1, len(douts)), np.float32), douts)


@pytest.mark.parametrize(("shape", "features"), SIZES)
def test_number_of_threads_changes_nothing(shape, features):
    x, weight, bias, dout = numbers(shape, features)
    results = []
    for threads in (2, 3, 8):
        _threads.set_num_threads(threads)
        out = cpu.linear_forward(x, weight, bias)
        results.append((out, *cpu.linear_backward(dout, x, weight)))
    for result in results[1:]:
        for a, b in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(a, b)


def test_strided_and_read_only_inputs():
    x, weight, bias, dout = numbers((200, 60), 70)
    expected = (cpu.linear_forward(x, weight, bias), *cpu.linear_backward(dout, x, weight))
    x2, dout2 = (np.repeat(a, 2, axis=1)[:, ::2] for a in (x, dout))
    weight2 = np.asfortranarray(weight)
    for a in (x2, dout2, weight2):
        a.setflags(write=False)
    found = (cpu.linear_forward(x2, weight2, bias), *cpu.linear_backward(dout2, x2, weight2))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_only_what_is_needed():
    x, weight, _, dout = numbers((200, 60), 70)
    everything = cpu.linear_backward(dout, x, weight)
    for i in range(3):
        part = cpu.linear_backward(dout, x, weight, tuple(k == i for k in range(3)))
        np.testing.assert_array_equal(part[i], everything[i])
        assert all(part[k] is None for k in range(3) if k != i)


def test_threads_of_blas_are_given_back():
    get, put = _blas._switch()
    before = get()
    seen = []
    assert _blas.with_one_thread(lambda: seen.append(get()))
    assert (seen, get()) == ([1], before)
    with pytest.raises(KeyError):
        _blas.with_one_thread(lambda: {}["nothing"])
    assert get() == before


def test_two_users_at_once():
    """The second does not see the first one's setting as the state to come back to."""
    x, weight, bias, dout = numbers((300, 70), 90)
    expected = reference.linear_forward(x, weight, bias)
    get, _ = _blas._switch()
    before, wrong = get(), []

    def user():
        for _ in range(50):
            if not np.allclose(cpu.linear_forward(x, weight, bias), expected, 1e-4, 1e-4):
                wrong.append(1)
            cpu.linear_backward(dout, x, weight)

    users = [threading.Thread(target=user) for _ in range(3)]
    for u in users:
        u.start()
    for u in users:
        u.join(60)
    assert not wrong
    assert get() == before


@pytest.mark.parametrize("dtype", [np.float16, np.int64])
def test_other_dtypes_get_the_reference(dtype):
    x, weight, bias, _ = numbers((20, 6), 7, dtype)
    np.testing.assert_array_equal(
        cpu.linear_forward(x, weight, bias), reference.linear_forward(x, weight, bias)
    )


def test_without_openblas(monkeypatch):
    monkeypatch.setattr(_blas, "_switch", lambda: None)
    x, weight, bias, dout = numbers((300, 70), 90)
    np.testing.assert_array_equal(
        cpu.linear_forward(x, weight, bias), reference.linear_forward(x, weight, bias)
    )
    for a, b in zip(
        cpu.linear_backward(dout, x, weight),
        reference.linear_backward(dout, x, weight),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
