"""Helpers of the layers' tests, as fixtures (these folders are no packages to import from)."""

import numpy as np
import pytest

import tinygrad_llm as tg


@pytest.fixture
def check_slopes():
    """Check every gradient of a module, of inputs and parameters, against finite differences."""

    def check(module, *inputs, **options):
        module.double()
        names = [name for name, _ in module.named_parameters()]
        parameters = [p for _, p in module.named_parameters()]
        places = [(module.get_submodule(n.rpartition(".")[0]), n.rpartition(".")[2]) for n in names]
        leaves = [tg.tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs]

        def put(values):
            for (owner, attribute), value in zip(places, values, strict=True):
                setattr(owner, attribute, value)

        def call(*values):
            put(values[len(inputs) :])
            return module(*values[: len(inputs)], **options)

        passed = tg.gradcheck(call, [*leaves, *parameters])
        put(parameters)
        return passed

    return check


@pytest.fixture
def random():
    """random(2, 3) -> float64 array of normal numbers."""
    rng = np.random.default_rng(0)
    return lambda *shape: rng.standard_normal(shape)


@pytest.fixture(autouse=True)
def _seeded_weights():
    """Statistical tests see the same draws every time."""
    tg.manual_seed(0)
