"""Loading puts back exactly what was saved, or names all that is wrong and changes nothing."""

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import nn
from tinygrad_llm.errors import CheckpointError


class Model(nn.Module):
    def __init__(self):
        self.embed = nn.Embedding(7, 3)
        self.h = [nn.Linear(3, 5), nn.LayerNorm(5)]
        self.steps = tg.zeros(2, dtype=tg.int64)


def snapshot(model):
    return {name: t.array.copy() for name, t in model.state_dict().items()}


def same(a, b):
    return list(a) == list(b) and all(np.array_equal(a[n], b[n]) for n in a)


def test_round_trip_is_exact_and_into_the_same_memory():
    tg.manual_seed(1)
    source, target = Model(), Model()
    source.steps.array[...] = [3, 4]
    assert not same(snapshot(source), snapshot(target))
    parameters = list(target.parameters())
    memory = [p.array for p in parameters]
    result = target.load_state_dict(source.state_dict())
    assert result == ([], [])
    assert same(snapshot(source), snapshot(target))
    assert all(p is q for p, q in zip(parameters, target.parameters(), strict=True))
    assert all(p.array is m for p, m in zip(parameters, memory, strict=True))
    source.embed.weight.array[...] = 0
    assert target.embed.weight.array.any()  # a copy


def test_state_dict_shares_memory_without_gradient():
    model = Model()
    state = model.state_dict()
    assert not any(t.requires_grad for t in state.values())
    state["h.0.bias"].array[...] = 9
    assert (model.h[0].bias.array == 9).all()


def test_arrays_tensors_and_parameters_are_accepted():
    model = Model()
    state = {name: t.array + 1 for name, t in model.state_dict().items()}
    state["h.0.bias"] = nn.Parameter(state["h.0.bias"])
    state["h.1.bias"] = tg.Tensor(state["h.1.bias"])
    state["steps"] = [5, 6]
    model.load_state_dict(state)
    assert model.steps.tolist() == [5, 6]
    assert (model.h[1].bias.array == 1).all()


def test_values_are_cast_to_the_modules_dtype_not_the_other_way():
    model = Model()
    values = np.full((5, 3), 1 / 3)
    state = {**snapshot(model), "h.0.weight": values, "steps": np.array([1.0, 2.0])}
    model.load_state_dict(state)
    assert model.h[0].weight.dtype == np.float32
    np.testing.assert_array_equal(model.h[0].weight.array, values.astype(np.float32))
    assert model.steps.dtype == np.int64


def test_every_problem_is_named_at_once_with_both_shapes_and_nothing_is_changed():
    model = Model()
    before = snapshot(model)
    state = {name: array + 1 for name, array in before.items()}
    del state["h.1.weight"], state["h.1.bias"]
    state["h.0.weight"] = np.zeros((3, 5), np.float32)
    state["embed.weight"] = np.zeros((7, 4), np.float32)
    state["h.1.wieght"] = np.zeros(5, np.float32)
    state["zzz"] = np.zeros(1, np.float32)
    with pytest.raises(CheckpointError) as error:
        model.load_state_dict(state)
    lines = [line.strip() for line in str(error.value).splitlines()]
    assert "does not fit Model; nothing was changed" in lines[0]
    assert lines[1:] == [
        "missing (2):",
        "h.1.weight",
        "h.1.bias",
        "unexpected (2):",
        "h.1.wieght (did you mean h.1.weight?)",
        "zzz",
        "of another shape (2):",
        "embed.weight: (7, 4) was given, the module has (7, 3)",
        "h.0.weight: (3, 5) was given, the module has (5, 3)",
    ]
    assert same(before, snapshot(model))


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_each_problem_alone_is_an_error_and_changes_nothing(change):
    model = Model()
    before = snapshot(model)
    state = {name: array + 1 for name, array in before.items()}
    if change == "missing":
        del state["steps"]
    elif change == "unexpected":
        state["h.2.weight"] = np.zeros(3)
    else:
        state["h.1.bias"] = np.zeros((1, 5))  # would broadcast
    with pytest.raises(CheckpointError):
        model.load_state_dict(state)
    assert same(before, snapshot(model))


def test_not_strict_takes_what_fits_by_name_but_no_wrong_shape():
    model = Model()
    state = {"h.0.bias": np.full(5, 4.0), "nowhere": np.zeros(1)}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert unexpected == ["nowhere"]
    assert missing == ["steps", "embed.weight", "h.0.weight", "h.1.weight", "h.1.bias"]
    assert (model.h[0].bias.array == 4).all()
    before = snapshot(model)
    with pytest.raises(CheckpointError, match="of another shape"):
        model.load_state_dict({"h.0.bias": np.zeros(4), "h.1.bias": np.ones(5)}, strict=False)
    assert same(before, snapshot(model))


def test_what_is_no_number_is_named():
    model = Model()
    before = snapshot(model)
    with pytest.raises(TypeError, match=r"h\.0\.bias is no tensor.*str"):
        model.load_state_dict(
            {**before, "embed.weight": before["embed.weight"] + 1, "h.0.bias": "x"}
        )
    with pytest.raises(TypeError, match="a dict of name -> tensor, not list"):
        model.load_state_dict([1])
    assert same(before, snapshot(model))


def test_memory_that_cannot_be_written_is_an_error_before_anything_is_changed():
    model = Model()
    frozen = np.zeros(5, np.float32)
    frozen.flags.writeable = False
    model.h[1].bias.array = frozen
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=r"read-only[^:]*:\s+h\.1\.bias"):
        model.load_state_dict({name: array + 1 for name, array in before.items()})
    assert same(before, snapshot(model))


class Tied(nn.Module):
    def __init__(self):
        self.wte = nn.Embedding(5, 3)
        self.lm_head = nn.Linear(3, 5, bias=False)
        self.lm_head.weight = self.wte.weight


@pytest.mark.parametrize("name", ["wte.weight", "lm_head.weight"])
def test_one_name_of_a_tied_tensor_is_enough(name):
    model = Tied()
    values = np.arange(15.0).reshape(5, 3)
    assert model.load_state_dict({name: values}) == ([], [])
    np.testing.assert_array_equal(model.wte.weight.array, values)
    assert model.lm_head.weight is model.wte.weight


def test_tied_here_but_different_there_is_an_error():
    model = Tied()
    before = snapshot(model)
    a = np.arange(15.0).reshape(5, 3)
    with pytest.raises(CheckpointError, match=r"wte\.weight and lm_head\.weight are one tensor"):
        model.load_state_dict({"wte.weight": a, "lm_head.weight": a + 1})
    assert same(before, snapshot(model))
    a[0, 0] = np.nan  # equal to itself here
    model.load_state_dict({"wte.weight": a, "lm_head.weight": a.copy()})


def test_a_graph_made_before_loading_finds_out():
    model = nn.Linear(3, 2)
    x = tg.ones(4, 3, requires_grad=True)
    out = model(x)
    model.load_state_dict({name: t.array + 1 for name, t in model.state_dict().items()})
    with pytest.raises(RuntimeError, match="changed in place"):
        out.sum().backward()


def test_empty_and_zero_dimensional_tensors():
    class Odd(nn.Module):
        def __init__(self):
            self.scalar = nn.Parameter(tg.tensor(2.0))
            self.empty = nn.Parameter(tg.zeros(0, 3))

    model = Odd()
    model.load_state_dict({"scalar": np.float32(5), "empty": np.zeros((0, 3))})
    assert model.scalar.item() == 5
    with pytest.raises(CheckpointError, match=r"empty: \(0, 4\) was given"):
        model.load_state_dict({"scalar": 1.0, "empty": np.zeros((0, 4))})
