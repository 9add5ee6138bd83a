"""Positions: learned, in waves, and as rotations, where only the distance counts."""

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import nn


def test_learned_positions(random, check_slopes):
    layer = nn.LearnedPositions(7, 3).double()
    x = random(2, 5, 3)
    np.testing.assert_array_equal(layer(tg.tensor(x)).array, x + layer.weight.array[:5])
    ids = np.array([[0, 1, 2, 3, 4], [6, 6, 0, 1, 2]])  # as left padding makes them
    np.testing.assert_array_equal(
        layer(tg.tensor(x), tg.tensor(ids)).array, x + layer.weight.array[ids]
    )
    assert check_slopes(layer, x)
    assert check_slopes(nn.LearnedPositions(7, 3), x, position_ids=ids)
    assert list(layer.state_dict()) == ["weight"]
    assert layer(tg.zeros(2, 0, 3, dtype=tg.float64)).shape == (2, 0, 3)
    with pytest.raises(IndexError, match="position 7 is out of range; num_positions=7"):
        layer(tg.zeros(1, 8, 3, dtype=tg.float64))


@pytest.mark.parametrize("dim", [6, 5, 1])
def test_sinusoidal_positions_are_the_papers(random, dim):
    layer = nn.SinusoidalPositions(dim)
    x = random(2, 9, dim)
    expected = np.zeros((9, dim))
    for t in range(9):
        for i in range(dim):
            angle = t / 10000 ** (2 * (i // 2) / dim)
            expected[t, i] = np.sin(angle) if i % 2 == 0 else np.cos(angle)
    np.testing.assert_allclose(layer(tg.tensor(x)).array, x + expected, rtol=1e-12, atol=1e-12)
    ids = np.array([3, 0, 8, 1, 1, 2, 40, 5, 6])
    shifted = layer(tg.zeros(1, 9, dim, dtype=tg.float64), ids).array[0]
    np.testing.assert_allclose(shifted[[0, 1, 2]], expected[[3, 0, 8]], atol=1e-12)
    assert layer.state_dict() == {}
    assert layer(tg.tensor(x.astype(np.float32))).dtype == tg.float32


def test_the_table_grows_and_stays_the_same():
    layer = nn.SinusoidalPositions(4)
    short = layer.table(3).copy()
    long = layer.table(1000)
    np.testing.assert_array_equal(long[:3], short)
    assert long.shape == (1000, 4)


def rotated(x, positions, base, interleaved, dim):
    """Each pair as a complex number, times e^(i angle)."""
    out = x.copy()
    half = dim // 2
    for i in range(half):
        a, b = (2 * i, 2 * i + 1) if interleaved else (i, i + half)
        turn = np.exp(1j * positions * base ** (-2 * i / dim))
        z = (x[..., a] + 1j * x[..., b]) * turn
        out[..., a], out[..., b] = z.real, z.imag
    return out


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("dim", [8, 4, 2])
def test_rotary_positions_turn_pairs(random, check_slopes, interleaved, dim):
    layer = nn.RotaryPositions(dim, base=50.0, interleaved=interleaved)
    x = random(2, 3, 5, 8)
    expected = rotated(x, np.arange(5), 50.0, interleaved, dim)
    np.testing.assert_allclose(layer(tg.tensor(x)).array, expected, rtol=1e-12, atol=1e-12)
    ids = np.array([[0, 1, 2, 3, 4], [9, 0, 2, 2, 30]])
    expected = rotated(x, ids[:, None, :], 50.0, interleaved, dim)
    result = layer(tg.tensor(x), tg.tensor(ids))
    np.testing.assert_allclose(result.array, expected, rtol=1e-12, atol=1e-12)
    assert check_slopes(layer, x)
    assert check_slopes(layer, x, position_ids=ids)
    assert layer.state_dict() == {}


def test_rotary_products_depend_on_the_distance_alone(random):
    layer = nn.RotaryPositions(6)
    q, k = random(1, 1, 1, 6), random(1, 1, 1, 6)

    def score(i, j):
        turned = [layer(tg.tensor(x), [t]).array for x, t in ((q, i), (k, j))]
        return (turned[0] * turned[1]).sum()

    assert score(7, 3) == pytest.approx(score(104, 100), rel=1e-9)
    assert score(7, 3) != pytest.approx(score(3, 7), rel=1e-3)
    assert score(5, 5) == pytest.approx((q * k).sum(), rel=1e-12)


def test_one_rotary_layer_serves_both_precisions(random):
    layer = nn.RotaryPositions(4)
    x = random(1, 1, 3, 4)
    assert layer(tg.tensor(x.astype(np.float32))).dtype == tg.float32
    out = layer(tg.tensor(x))
    expected = rotated(x, np.arange(3), 10000.0, False, 4)
    np.testing.assert_allclose(out.array, expected, rtol=1e-13, atol=1e-14)


def test_rotary_angles_of_distant_positions_are_exact():
    layer = nn.RotaryPositions(2)
    x = tg.tensor(np.array([1, 0], np.float32).reshape(1, 1, 1, 2))
    out = layer(x, [123_457]).array.ravel()
    np.testing.assert_allclose(out, [np.cos(123_457), np.sin(123_457)], atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.RotaryPositions(5), ValueError, "dim=5 must be even"),
        (
            lambda: nn.RotaryPositions(4)(tg.zeros(2, 3, 4)),
            ValueError,
            r"\(2, 3, 4\) is not \(B, H",
        ),
        (lambda: nn.RotaryPositions(4)(tg.zeros(1, 2, 3, 2)), ValueError, "D >= dim=4"),
        (
            lambda: nn.LearnedPositions(4, 2)(tg.zeros(1, 3, 2), [0, 1]),
            ValueError,
            r"position_ids are int64 of shape \(2,\), .* \(3,\) or \(B, 3\)",
        ),
        (
            lambda: nn.LearnedPositions(4, 2)(tg.zeros(1, 2, 2), [0.0, 1.0]),
            ValueError,
            "position_ids are float64",
        ),
        (
            lambda: nn.SinusoidalPositions(2)(tg.zeros(1, 2, 2), [-1, 0]),
            IndexError,
            "holds -1; positions start at 0",
        ),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
