"""Clipping: one factor for all, the norm from before, and nothing made worse by infinity."""

import inspect
import math
import types

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import optim
from tinygrad_llm.optim import clipping


def with_gradients(*gradients):
    parameters = []
    for g in gradients:
        g = None if g is None else np.asarray(g, np.float64)
        p = tg.tensor(np.zeros(() if g is None else g.shape), requires_grad=True)
        p.grad = None if g is None else tg.tensor(g)
        parameters.append(p)
    return parameters


def check(clip):
    """What any clipping by the norm must do: for the right one, and for the mutants."""
    rng = np.random.default_rng(0)
    gradients = [rng.standard_normal(s) for s in [(3, 5), (7,), (), (0, 2)]]
    norm = math.sqrt(sum((g**2).sum() for g in gradients))
    for limit in (norm / 3, norm * 3):
        parameters = with_gradients(*gradients, None)
        memory = [p.grad.array for p in parameters[:-1]]
        assert clip(iter(parameters), limit) == pytest.approx(norm, rel=1e-12)
        factor = min(1.0, limit / (norm + 1e-6))
        for p, g, a in zip(parameters, gradients, memory, strict=False):
            assert p.grad.array is a
            np.testing.assert_allclose(a, factor * g, rtol=1e-12)
        after = optim.grad_norm(parameters)
        assert after == pytest.approx(min(norm, limit), rel=1e-6)


MUTANTS = {
    "always scaled": ("if factor < 1:", "if True:"),
    "never scaled": ("if factor < 1:", "if False:"),
    "each by its own": ("gradient *= factor", "gradient *= max_norm / (abs(gradient).sum() + 1)"),
    "to norm 1": ("factor = max_norm / (total + 1e-6)", "factor = 1 / (total + 1e-6)"),
    "the norm after": ("return total\n\n\ndef", "return min(total, max_norm)\n\n\ndef"),
    "squared norm": ("factor = max_norm / (total + 1e-6)", "factor = max_norm / (total**2 + 1e-6)"),
    "a copy": ("            gradient *= factor", "            gradient = gradient * factor"),
}  # fmt: skip


def test_by_the_norm():
    check(optim.clip_grad_norm_)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_clipping_fails(mutant):
    source = inspect.getsource(clipping)
    old, new = MUTANTS[mutant]
    assert source.count(old) == 1
    wrong = types.ModuleType("clipping")
    exec(source.replace(old, new), wrong.__dict__)
    with pytest.raises(AssertionError):
        check(wrong.clip_grad_norm_)


def test_other_norms():
    parameters = with_gradients([[3.0, -4.0]], [12.0], None)
    assert optim.grad_norm(parameters) == 13
    assert optim.grad_norm(parameters, 1) == pytest.approx(19)
    assert optim.grad_norm(parameters, math.inf) == 12
    assert optim.clip_grad_norm_(parameters, 6.0, norm_type=math.inf) == 12
    np.testing.assert_allclose(parameters[0].grad.array, [[1.5, -2.0]], rtol=1e-6)
    with pytest.raises(ValueError, match="norm_type=0"):
        optim.grad_norm(parameters, 0)


def test_without_gradients_the_norm_is_zero():
    assert optim.clip_grad_norm_(with_gradients(None, None), 1.0) == 0.0
    assert optim.clip_grad_norm_([], 1.0) == 0.0
    assert optim.grad_norm([], math.inf) == 0.0


def test_zero_gradients_stay_zero():
    (p,) = with_gradients([0.0, 0.0])
    assert optim.clip_grad_norm_([p], 1.0) == 0.0
    assert p.grad.tolist() == [0, 0]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_told_and_left_alone(bad):
    parameters = with_gradients([1.0, 2.0], [3.0, bad])
    norm = optim.clip_grad_norm_(parameters, 0.5)
    assert not math.isfinite(norm)
    assert parameters[0].grad.tolist() == [1, 2]
    assert parameters[1].grad.tolist()[0] == 3
    with pytest.raises(RuntimeError, match=r"not finite: number 1 \(shape \(2,\)\)"):
        optim.clip_grad_norm_(parameters, 0.5, error_if_nonfinite=True)


def test_large_gradients_of_float32_are_clipped_not_lost():
    p = tg.ones(2, requires_grad=True)
    p.grad = tg.tensor(np.array([3e25, 4e25], np.float32))
    assert optim.clip_grad_norm_(p, 1.0) == pytest.approx(5e25, rel=1e-6)
    np.testing.assert_allclose(p.grad.array, [0.6, 0.8], rtol=1e-5)


def test_an_infinite_limit_measures_only():
    (p,) = with_gradients([3.0, 4.0])
    assert optim.clip_grad_norm_(p, math.inf) == 5.0
    assert p.grad.tolist() == [3, 4]


def test_by_value():
    parameters = with_gradients([[-3.0, 0.5]], [2.0], None)
    memory = parameters[0].grad.array
    assert optim.clip_grad_value_(parameters, 1.0) is None
    assert parameters[0].grad.array is memory
    assert memory.tolist() == [[-1, 0.5]]
    assert parameters[1].grad.tolist() == [1]
    optim.clip_grad_value_(parameters[0], 0.25)
    assert memory.tolist() == [[-0.25, 0.25]]


@pytest.mark.parametrize("limit", [-1.0, math.nan])
def test_limits_that_make_no_sense(limit):
    parameters = with_gradients([1.0])
    with pytest.raises(ValueError, match="max_norm="):
        optim.clip_grad_norm_(parameters, limit)
    with pytest.raises(ValueError, match="clip_value="):
        optim.clip_grad_value_(parameters, limit)


@pytest.mark.parity
@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("limit", [0.1, 100.0])
def test_clipping_is_pytorchs(norm_type, limit):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    gradients = [rng.standard_normal(s) for s in [(4, 3), (5,)]]
    ours = with_gradients(*gradients)
    theirs = [torch.nn.Parameter(torch.zeros(g.shape, dtype=torch.float64)) for g in gradients]
    for p, g in zip(theirs, gradients, strict=True):
        p.grad = torch.tensor(g)
    expected = torch.nn.utils.clip_grad_norm_(theirs, limit, norm_type).item()
    assert optim.clip_grad_norm_(ours, limit, norm_type) == pytest.approx(expected, rel=1e-12)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad.array, q.grad.numpy(), rtol=1e-12)
