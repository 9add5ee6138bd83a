"""Every operation of the op table: gradients, invariants, and PyTorch's answers."""

import inspect
import math

import numpy as np
import pytest

import tinygrad_llm as tg
import tinygrad_llm.functional as F
from tinygrad_llm import autograd, ops
from tinygrad_llm.autograd import Function
from tinygrad_llm.optable import OPS, tolerance
from tinygrad_llm.tensor import functions

DIFFERENTIABLE = [op for op in OPS.values() if op.differentiable]


def tensors(sample, dtype=np.float64, seed=0, grad=True):
    """The sample's tensors, those that can requiring a gradient if `grad`."""
    specs = zip(sample.tensors(), sample.arrays(seed, dtype), strict=True)
    return [tg.Tensor(a, requires_grad=grad and t.floating and t.grad) for t, a in specs]


def outputs(result):
    """The tensors of a result, which may be one, several, or a Python value."""
    found = list(result) if isinstance(result, (tuple, list)) else [result]
    return [x if isinstance(x, tg.Tensor) else tg.tensor(x) for x in found]


def loss(results, numbers):
    """One number that depends on every element of every result."""
    terms = [
        (x * tg.Tensor(np.asarray(n, x.dtype))).sum()
        for x, n in zip(results, numbers, strict=True)
        if x.requires_grad
    ]
    return sum(terms[1:], terms[0]) if terms else None


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_backward_agrees_with_finite_differences(op):
    checked = 0
    for i, sample in enumerate(op.samples):
        values = tensors(sample, seed=i)
        if not sample.smooth or not any(v.requires_grad for v in values):
            continue
        try:
            tg.gradcheck(lambda *v, sample=sample: sample.call(op.call, v), values)
        except tg.GradcheckError as error:
            pytest.fail(f"{op.name}({sample}): {error}")
        checked += 1
    assert checked or op.name == "float", "a differentiable operation without a gradient to check"


@pytest.mark.parametrize("op", OPS.values(), ids=lambda op: op.name)
def test_inputs_stay_as_they_are_and_float32_stays_float32(op):
    for i, sample in enumerate(op.samples):
        values = tensors(sample, np.float32, seed=i)
        before = [v.array.copy() for v in values]
        results = outputs(sample.call(op.call, values))
        for x in results:
            if op.name != "to":
                assert x.dtype != np.float64, f"{op.name}({sample}) widened float32"
            assert isinstance(x.array, np.ndarray)
        numbers = [np.random.default_rng(i).standard_normal(x.shape) for x in results]
        total = loss(results, numbers)
        if total is None:
            continue
        out_before = [x.array.copy() for x in results]
        total.backward(retain_graph=True)
        first = [None if v.grad is None else v.grad.array.copy() for v in values]
        for v in values:
            v.grad = None
        # What backward saved is intact after it ran: the second time gives the same.
        total.backward()
        for v, gradient in zip(values, first, strict=True):
            assert (v.grad is None) == (gradient is None)
            if gradient is not None:
                assert v.grad.shape == v.shape
                assert v.grad.dtype == v.dtype
                np.testing.assert_array_equal(v.grad.array, gradient, err_msg=str(sample))
        for x, array in zip([*values, *results], [*before, *out_before], strict=True):
            np.testing.assert_array_equal(x.array, array, err_msg=f"{op.name}({sample})")


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_a_gradient_belongs_to_its_tensor_alone(op):
    """Gradients of two leaves never share memory, nor memory with values or the given gradient."""
    for i, sample in enumerate(op.samples):
        values = tensors(sample, seed=i)
        results = [x for x in outputs(sample.call(op.call, values)) if x.requires_grad]
        if not results:
            continue
        start = np.ones(results[0].shape)
        results[0].backward(start)
        gradients = [v.grad.array for v in values if v.grad is not None]
        others = [v.array for v in values] + [x.array for x in results] + [start]
        for i, a in enumerate(gradients):
            for b in others + gradients[:i]:
                assert not np.shares_memory(a, b), f"{op.name}({sample})"
        np.testing.assert_array_equal(start, 1)


@pytest.mark.parametrize("op", OPS.values(), ids=lambda op: op.name)
def test_no_grad_gives_the_same_values_and_no_graph(op):
    sample = op.samples[0]
    values = tensors(sample)
    recorded = outputs(sample.call(op.call, values))
    with tg.no_grad():
        plain = outputs(sample.call(op.call, values))
    for a, b in zip(recorded, plain, strict=True):
        np.testing.assert_array_equal(a.array, b.array)
        assert b.grad_fn is None
        assert not b.requires_grad or any(b is v for v in values)


# -- the table is complete --


def functions_of(cls):
    """The Function classes below cls that are operations of the engine."""
    for child in cls.__subclasses__():
        if child.__module__.startswith("tinygrad_llm.ops") and not child.__name__.startswith("_"):
            yield child
        yield from functions_of(child)


class Watching:
    """An observer (autograd.watch) that notes which operations ran."""

    def __init__(self):
        self.forwards, self.backwards = set(), set()

    def forward(self, node, arrays, options):
        self.forwards.add(type(node))
        return node.forward(*arrays, **options)

    def backward(self, node, douts):
        self.backwards.add(type(node))
        return node.backward(*douts)


def test_every_function_is_reached_by_a_row():
    watching = Watching()
    autograd.watch.observer = watching
    try:
        for op in OPS.values():
            for sample in op.samples:
                results = outputs(sample.call(op.call, tensors(sample)))
                total = loss(results, [np.ones(x.shape) for x in results])
                if total is not None:
                    total.backward()
    finally:
        autograd.watch.observer = None
    classes = set(functions_of(Function))
    assert len(classes) > 50
    # Dropout is random: test_dropout compares it with its own mask.
    assert {c.__name__ for c in classes - watching.forwards} <= {"Dropout"}
    assert {c.__name__ for c in classes - watching.backwards} <= {"Dropout"}


# What is public and is no operation on values, so needs no row.
# fmt: off
NO_OPERATION = {
    "accumulate_grad", "allclose", "backward", "cpu", "cuda", "detach", "dim", "double",
    "element_size", "equal", "from_op", "half", "bool", "int", "long", "item", "is_contiguous",
    "is_floating_point", "mark_changed", "numel", "numpy", "register_hook", "requires_grad_",
    "retain_grad", "size", "stride", "tolist", "type_as", "add_", "sub_", "mul_", "div_",
    "clamp_", "masked_fill_", "copy_", "fill_", "zero_",
}
# fmt: on


def test_every_public_function_and_method_has_a_row():
    methods = {
        name
        for name, member in inspect.getmembers(tg.Tensor, inspect.isfunction)
        if not name.startswith("_")
    }
    assert {*methods, *tg.Tensor.__dict__} >= {"sum", "view", "item"}
    missing = methods - NO_OPERATION - set(OPS) - {"clip"}  # clip is clamp
    assert not missing, "a public method without a row in the op table"
    public = {name for name in F.__all__ if inspect.isfunction(getattr(F, name))}
    assert not public - {name.removeprefix("F.") for name in OPS} - {"rotary_tables"}
    assert set(functions.__all__) <= NO_OPERATION | set(OPS) | {"clip"}


def test_rows_are_worth_having():
    for op in OPS.values():
        assert op.samples, op.name
        assert op.torch, f"{op.name} is compared with nothing"
        # Sizes of 1 cannot tell right from wrong: some sample has axes that all differ.
        big = [t for x in op.samples for t in x.tensors() if len(t.shape) > 1 and min(t.shape) > 1]
        if op.name not in ("dot",):
            assert big, f"{op.name} is only tried on sizes of 1"


@pytest.mark.parametrize("seed", range(3))
def test_dropout_against_its_own_mask(seed):
    tg.manual_seed(seed)
    x = tg.randn(30, 40, dtype=tg.float64, requires_grad=True)
    y = F.dropout(x, 0.3)
    kept = y.array != 0
    assert 0.6 < kept.mean() < 0.8
    np.testing.assert_allclose(y.array, np.where(kept, x.array / 0.7, 0))
    dout = np.random.default_rng(seed).standard_normal(y.shape)
    y.backward(dout)
    np.testing.assert_allclose(x.grad.array, np.where(kept, dout / 0.7, 0))


# -- PyTorch --


def theirs(op, torch):
    return eval(op.torch, {"torch": torch, "math": math})


def torch_inputs(sample, torch, dtype, seed, grad=True):
    made = []
    for t, array in zip(sample.tensors(), sample.arrays(seed, dtype), strict=True):
        # PyTorch cannot hold NumPy's memory of stride 0 or read-only: give it the same values.
        x = torch.from_numpy(np.array(array))
        made.append(x.requires_grad_() if grad and t.floating and t.grad else x)
    return made


def their_outputs(result, torch):
    found = list(result) if isinstance(result, (tuple, list)) else [result]
    return [x if isinstance(x, torch.Tensor) else torch.tensor(x) for x in found]


def close(ours, other, bound, what):
    """Equal shape, and equal up to `bound` times the largest value."""
    assert ours.shape == tuple(other.shape), what
    other = other.detach().numpy()
    if ours.dtype.kind != "f" or not other.size:
        np.testing.assert_array_equal(ours, other, err_msg=what)
        return
    finite = np.abs(other[np.isfinite(other)])
    scale = max(1.0, float(finite.max())) if finite.size else 1.0
    np.testing.assert_allclose(ours, other, rtol=0, atol=bound * scale, err_msg=what)


@pytest.mark.parity
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("op", OPS.values(), ids=lambda op: op.name)
@pytest.mark.filterwarnings("ignore")
def test_values_gradients_shapes_and_dtypes_are_pytorchs(op, dtype):
    torch = pytest.importorskip("torch")
    for i, sample in enumerate(op.samples):
        what = f"{op.name}({sample})"
        values = tensors(sample, dtype, seed=i, grad=op.differentiable)
        references = torch_inputs(sample, torch, dtype, i, grad=op.differentiable)
        results = outputs(sample.call(op.call, values))
        expected = their_outputs(sample.call(theirs(op, torch), references), torch)
        assert len(results) == len(expected), what
        size = max([0, *(x.numel() for x in results)])
        # Integers in become float32 out, whatever the other dtypes are.
        coarse = np.float32 if any(x.dtype == np.float32 for x in results) else dtype
        bound = tolerance(op, sample, coarse, size)
        for x, y in zip(results, expected, strict=True):
            assert str(x.dtype) == str(y.dtype).removeprefix("torch."), what
            close(x.array, y, bound, what)
        numbers = [np.random.default_rng(i).standard_normal(x.shape) for x in results]
        total = loss(results, numbers)
        if total is None:
            continue
        total.backward()
        pairs = [(y, n) for y, n in zip(expected, numbers, strict=True) if y.requires_grad]
        torch.autograd.backward(
            [y for y, _ in pairs], [torch.from_numpy(np.asarray(n, dtype)) for _, n in pairs]
        )
        for x, y in zip(values, references, strict=True):
            assert (x.grad is None) == (y.grad is None), what
            if x.grad is not None:
                close(x.grad.array, y.grad, 4 * bound, f"gradient of {what}")


def test_ops_are_all_exported():
    defined = {c.__name__ for c in functions_of(Function)}
    assert defined <= set(ops.__all__)
