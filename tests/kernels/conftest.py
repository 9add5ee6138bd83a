"""Every spelling of a kernel that exists here runs through the same tests.

A test module says `OPERATION = "softmax"`; its tests take `kernels`, which is each of
tinygrad_llm.kernels.softmax.{reference, cpu, ...} in turn. What a spelling lacks is skipped.
"""

import importlib
import warnings
from types import ModuleType

import numpy as np
import pytest

SPELLINGS = ("reference", "cpu", "numba_cuda", "cuda")


class Spelling:
    """A module whose missing functions skip the test that asks for them."""

    def __init__(self, module: ModuleType):
        self.module = module

    def __getattr__(self, function: str):
        found = getattr(self.module, function, None)
        if found is None:
            pytest.skip(f"{self.module.__name__} has no {function}")
        return found


def _modules(operation: str) -> list[ModuleType]:
    found = []
    for spelling in SPELLINGS:
        name = f"tinygrad_llm.kernels.{operation}.{spelling}"
        try:
            found.append(importlib.import_module(name))
        except ModuleNotFoundError as error:
            if error.name not in (name, "numba", "cupy"):
                raise
    return found


def pytest_generate_tests(metafunc):
    operation = getattr(metafunc.module, "OPERATION", None)
    if operation and "kernels" in metafunc.fixturenames:
        modules = _modules(operation)
        assert modules, f"no spelling of {operation} can be imported"
        names = [m.__name__.rpartition(".")[2] for m in modules]
        metafunc.parametrize("kernels", [Spelling(m) for m in modules], ids=names)


@pytest.fixture(autouse=True)
def kernels_are_compiled():
    """One that cannot be compiled falls back to the reference with a notice: here a failure."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "kernels cannot", RuntimeWarning)
        yield


@pytest.fixture
def random(request):
    """A generator seeded by the test's name, so that no two tests share their values."""
    return np.random.default_rng(sum(map(ord, request.node.name)))


@pytest.fixture
def slopes_agree(random):
    """Compare gradients with finite differences in float64, along a random direction each.

    slopes_agree(function, inputs, gradients, dout): function(*inputs) is an array of dout's shape,
    gradients[i] the gradient of sum(dout * function) with respect to inputs[i], or None.
    """

    def check(function, inputs, gradients, dout, step=1e-5):
        for i, gradient in enumerate(gradients):
            if gradient is None:
                continue
            assert gradient.shape == inputs[i].shape
            assert gradient.dtype == np.float64
            direction = random.standard_normal(inputs[i].shape)

            def value(h, i=i, direction=direction):
                moved = [x + h * direction if k == i else x for k, x in enumerate(inputs)]
                return (dout * function(*moved)).astype(np.longdouble)

            terms = (value(step) - value(-step)) / (2 * step)
            numeric, analytic = terms.sum(), (gradient * direction).sum()
            # Rounding of the values gives about 1e-16 / step, the third derivative step^2, each
            # times the size of what is summed.
            scale = 1 + np.abs(dout).sum() + np.abs(gradient * direction).sum()
            assert abs(numeric - analytic) <= 1e-9 * scale, (i, float(numeric), float(analytic))

    return check


@pytest.fixture
def unchanged():
    """with unchanged(a, b): the block does not write to these arrays."""
    import contextlib

    @contextlib.contextmanager
    def guard(*arrays):
        before = [a.copy() for a in arrays]
        yield
        for a, b in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(a, b)

    return guard
