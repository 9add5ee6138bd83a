"""What the tests of several models need."""

import pytest

import tinygrad_llm as tg


@pytest.fixture
def check_gradients():
    """Hold the gradients of a module's parameters, and of further inputs, against differences."""

    def check(module, function, inputs=()):
        parameters = list(module.parameters())

        def run(*values):
            # gradcheck hands in changed values: they take the parameters' places for the call.
            places = [*parameters, *inputs]
            before = [place.array for place in places]
            for place, value in zip(places, values, strict=True):
                place.array = value.array
            try:
                return function()
            finally:
                for place, array in zip(places, before, strict=True):
                    place.array = array

        return tg.gradcheck(run, [*parameters, *inputs])

    return check
