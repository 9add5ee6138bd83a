"""gradcheck itself: it must reject wrong gradients, and say which argument and by how much."""

import re

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.autograd import Function


def wrong(change):
    """A product whose second gradient is changed."""

    class Product(Function):
        def forward(self, a, b):
            self.a, self.b = a, b
            return a * b

        def backward(self, dout):
            return dout * self.b, change(dout * self.a)

    return Product.apply


def inputs():
    rng = np.random.default_rng(3)
    return [tg.Tensor(rng.standard_normal((2, 3)), requires_grad=True) for _ in range(2)]


def one_entry(d):
    d[1, 2] += 1e-3
    return d


@pytest.mark.parametrize(
    "change", [lambda d: -d, lambda d: 2 * d, lambda d: 0 * d, lambda d: d[::-1].copy(), one_entry]
)
def test_a_wrong_gradient_is_rejected_and_named(change):
    with pytest.raises(tg.GradcheckError) as caught:
        tg.gradcheck(lambda a, b: wrong(change)(a, b), inputs())
    message = str(caught.value)
    assert "argument 'b' of shape (2, 3)" in message
    numbers = re.search(r"slope of (\S+), the finite difference (\S+) \(ratio (\S+)\)", message)
    assert numbers
    assert float(numbers[1]) != float(numbers[2])


@pytest.mark.parametrize(
    ("spelling", "name"), [(lambda f: f, "'b'"), (lambda f: lambda *tensors: f(*tensors), "1")]
)
def test_the_argument_is_named_also_without_a_wrapper(spelling, name):
    with pytest.raises(tg.GradcheckError, match=f"argument {name} of shape"):
        tg.gradcheck(spelling(wrong(lambda d: -d)), inputs())


def test_a_right_gradient_is_accepted_and_nothing_is_left_behind():
    a, b = inputs()
    a.grad = tg.ones(2, 3, dtype=tg.float64)
    before = a.array.copy()
    assert tg.gradcheck(wrong(lambda d: d), [a, b])
    assert a.grad.tolist() == [[1.0] * 3] * 2
    assert b.grad is None
    np.testing.assert_array_equal(a.array, before)
    assert tg.gradcheck(lambda x: x.sin(), a)  # a single tensor will do
    assert tg.gradcheck(lambda x: (x.exp(), x.cos(), x > 0), a)  # several outputs
    assert tg.gradcheck(lambda x, n: x * n, [a, 3])  # what is no tensor is passed on


@pytest.mark.parametrize("part", [lambda a: a.detach().exp(), lambda a: a * a.detach()])
def test_a_missing_gradient_is_rejected(part):
    with pytest.raises(tg.GradcheckError, match=r"slope of (0|\S+), .* \(ratio 0(\.5)?\)"):
        tg.gradcheck(part, inputs()[:1])


def test_what_it_cannot_check_it_says():
    with pytest.raises(ValueError, match="no input requires a gradient"):
        tg.gradcheck(lambda x: x, [tg.ones(2, dtype=tg.float64)])
    with pytest.raises(TypeError, match="input 0 is float32; finite differences need float64"):
        tg.gradcheck(lambda x: x, [tg.ones(2, requires_grad=True)])
    with pytest.raises(TypeError, match="the output is float32"):
        tg.gradcheck(lambda x: x.float(), inputs()[:1])
