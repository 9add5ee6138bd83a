"""Groups, state by parameter, saving and restoring: what all optimisers share."""

import copy
import json
import math

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import nn, optim
from tinygrad_llm.errors import CheckpointError


def leaf(*shape, seed=0):
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return tg.tensor(values, requires_grad=True)


def set_gradients(parameters, seed):
    rng = np.random.default_rng(seed)
    for p in parameters:
        p.grad = tg.tensor(rng.standard_normal(p.shape).astype(np.float32))


CLASSES = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "Adam": lambda p: optim.Adam(p, lr=0.1, betas=(0.7, 0.8), weight_decay=0.1),
    "AdamW": lambda p: optim.AdamW(p, lr=0.1, betas=(0.7, 0.8)),
}
each = pytest.mark.parametrize("make", CLASSES.values(), ids=CLASSES)


# -- what is trained --


@each
def test_parameters_without_gradient_are_skipped_and_get_no_state(make):
    with_grad, without = leaf(2, 3), leaf(4)
    optimizer = make([with_grad, without])
    before = without.array.copy()
    set_gradients([with_grad], 1)
    optimizer.step()
    np.testing.assert_array_equal(without.array, before)
    assert without not in optimizer.state
    assert with_grad in optimizer.state
    assert list(optimizer.state_dict()["state"]) == [0]
    # Its count of steps starts when its gradients do.
    set_gradients([without], 2)
    alone = leaf(4)
    alone.grad = tg.tensor(without.grad.array)
    make([alone]).step()
    optimizer.step()
    np.testing.assert_array_equal(without.array, alone.array)


@each
def test_values_and_buffers_are_updated_in_their_memory(make):
    p = leaf(50, 40)
    optimizer = make([p])
    set_gradients([p], 1)
    optimizer.step()
    arrays = [p.array, *(t.array for t in optimizer.state[p].values() if isinstance(t, tg.Tensor))]
    kept = [a.copy() for a in arrays]
    set_gradients([p], 2)
    gradient = p.grad.array.copy()
    optimizer.step()
    now = [p.array, *(t.array for t in optimizer.state[p].values() if isinstance(t, tg.Tensor))]
    for before, after, values in zip(arrays, now, kept, strict=True):
        assert before is after
        assert not np.array_equal(after, values)
    np.testing.assert_array_equal(p.grad.array, gradient)


@each
def test_a_graph_made_before_the_step_finds_out(make):
    p = leaf(3)
    optimizer = make([p])
    loss = (p * p).sum()
    set_gradients([p], 1)
    optimizer.step()
    with pytest.raises(RuntimeError, match=r"changed in place.*step"):
        loss.backward()


@each
def test_it_learns(make):
    tg.manual_seed(0)
    layer = nn.Linear(3, 1)
    optimizer = make(layer.parameters())
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    x = tg.randn(64, 3)
    y = x @ tg.tensor([[1.0], [-2.0], [0.5]]) + 3.0
    losses = []
    for _ in range(300):
        optimizer.zero_grad()
        loss = ((layer(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 1e-3 < losses[0]


def test_step_takes_a_closure_and_returns_its_loss():
    p = leaf(2)
    optimizer = optim.SGD([p], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    start = p.array.copy()
    with tg.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == pytest.approx((start**2).sum())
    np.testing.assert_allclose(p.array, 0, atol=1e-7)
    assert optimizer.step() is None


def test_zero_grad_forgets_or_fills():
    p, q = leaf(2), leaf(3)
    optimizer = optim.SGD([p, q], lr=1.0)
    set_gradients([p], 1)
    memory = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is memory
    assert not memory.array.any()
    assert q.grad is None
    optimizer.zero_grad()
    assert p.grad is None


# -- groups --


@each
def test_groups_have_their_own_settings_which_may_change(make):
    p, q = leaf(3, seed=1), leaf(3, seed=1)
    optimizer = make([{"params": p}, {"params": [q], "lr": 0.0}])
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.0]
    start = p.array.copy()
    set_gradients([p, q], 1)
    optimizer.step()
    assert not np.array_equal(p.array, start)
    np.testing.assert_array_equal(q.array, start)
    optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = 0.0, 0.1
    moved = p.array.copy()
    optimizer.step()
    np.testing.assert_array_equal(p.array, moved)
    assert not np.array_equal(q.array, start)


def test_betas_of_a_group_are_used():
    p, q = leaf(3, seed=1), leaf(3, seed=1)
    optimizer = optim.AdamW([{"params": [p]}, {"params": [q], "betas": (0.0, 0.0), "eps": 0.0}])
    for seed in (1, 2):
        set_gradients([p], seed)
        q.grad = tg.tensor(p.grad.array)
        before = q.array.copy()
        optimizer.step()
        # Without memory each step is lr in the direction of the sign.
        np.testing.assert_allclose(
            q.array, before * (1 - 1e-5) - 1e-3 * np.sign(q.grad.array), rtol=0, atol=1e-7
        )
    assert not np.allclose(p.array, q.array, atol=1e-5)


def test_named_parameters_and_generators_are_accepted():
    model = nn.Linear(2, 3)
    optimizer = optim.SGD(model.named_parameters(), lr=1.0)
    assert [
        p is q for p, q in zip(optimizer.param_groups[0]["params"], model.parameters(), strict=True)
    ]
    assert len(optim.SGD(model.parameters(), lr=1.0).param_groups[0]["params"]) == 2


def test_groups_may_be_added():
    p, q = leaf(2), leaf(3)
    optimizer = optim.AdamW([p], lr=0.1)
    optimizer.add_param_group({"params": [q], "weight_decay": 0.0})
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.01, 0.0]
    assert optimizer.param_groups[1]["lr"] == 0.1
    with pytest.raises(ValueError, match="given twice"):
        optimizer.add_param_group({"params": [p]})
    assert len(optimizer.param_groups) == 2


def test_decay_groups_take_matrices_apart_from_vectors_tied_once_and_frozen_never():
    class Model(nn.Module):
        def __init__(self):
            self.wte = nn.Embedding(5, 3)
            self.blocks = [nn.Linear(3, 3), nn.LayerNorm(3)]
            self.head = nn.Linear(3, 5, bias=False)
            self.head.weight = self.wte.weight
            self.frozen = nn.Linear(2, 2).requires_grad_(False)

    model = Model()
    decayed, plain = optim.decay_groups(model, 0.1)
    assert decayed["weight_decay"] == 0.1
    assert plain["weight_decay"] == 0.0
    assert [id(p) for p in decayed["params"]] == [id(model.wte.weight), id(model.blocks[0].weight)]
    assert [id(p) for p in plain["params"]] == [
        id(p) for p in (model.blocks[0].bias, model.blocks[1].weight, model.blocks[1].bias)
    ]
    optimizer = optim.AdamW(optim.decay_groups(model, 0.1))
    set_gradients(model.parameters(), 0)
    for p in model.parameters():
        p.grad.array[...] = 0
    before = {name: t.array.copy() for name, t in model.state_dict().items()}
    optimizer.step()
    after = model.state_dict()
    np.testing.assert_allclose(
        after["wte.weight"].array, before["wte.weight"] * (1 - 1e-4), rtol=1e-6
    )
    for name in ("blocks.0.bias", "blocks.1.weight", "frozen.weight"):
        np.testing.assert_array_equal(after[name].array, before[name])


# -- mistakes --


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: optim.SGD(p, lr=-1.0), ValueError, r"SGD: lr=-1\.0 must be at least 0"),
        (lambda p: optim.SGD(p, lr=math.nan), ValueError, "SGD: lr=nan"),
        (lambda p: optim.AdamW(p, lr=math.inf), ValueError, "AdamW: lr=inf must be .* finite"),
        (lambda p: optim.AdamW(p, lr="3"), TypeError, "AdamW: lr='3' must be a number"),
        (lambda p: optim.Adam(p, betas=(0.9, 1.0)), ValueError, r"betas\[1\]=1\.0 .* less than 1"),
        (lambda p: optim.Adam(p, betas=(-0.1, 0.9)), ValueError, r"Adam: betas\[0\]=-0\.1"),
        (lambda p: optim.Adam(p, betas=0.9), ValueError, r"betas=0\.9 must be two numbers"),
        (lambda p: optim.AdamW(p, eps=-1e-8), ValueError, "eps=-1e-08"),
        (lambda p: optim.AdamW(p, weight_decay=-0.1), ValueError, r"weight_decay=-0\.1"),
        (lambda p: optim.SGD(p, momentum=-0.5), ValueError, r"momentum=-0\.5"),
        (lambda p: optim.SGD(p, nesterov=True), ValueError, "nesterov=True needs momentum > 0"),
        (lambda p: optim.SGD(p, 1, 0.9, 0.1, nesterov=True), ValueError, "dampening=0"),
        (lambda p: optim.SGD(p[0]), TypeError, "params must be a list of tensors.*not a single"),
        (lambda p: optim.SGD([]), ValueError, "params is empty"),
        (lambda p: optim.SGD(set(p)), TypeError, "a set, which has no order"),
        (lambda p: optim.SGD(3), TypeError, "not int"),
        (lambda p: optim.SGD([p[0], 3.0]), TypeError, r"params\[1\] is no tensor, but float"),
        (lambda p: optim.SGD([p[0], p[0]]), ValueError, r"params\[1\] of shape .* given twice"),
        (lambda p: optim.SGD([p[0] * 2]), ValueError, r"params\[0\] is the result of an operation"),
        (lambda p: optim.SGD([{"params": p, "lrr": 1}]), ValueError, "unknown setting 'lrr'"),
        (lambda p: optim.SGD([{"lr": 1}]), TypeError, "a group is a dict with 'params'"),
        (lambda p: optim.SGD([{"params": p, "lr": -2}]), ValueError, "lr=-2"),
    ],
)  # fmt: skip
def test_mistakes_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make([leaf(2)])


def test_a_gradient_of_another_shape_is_named():
    p = leaf(2, 3)
    p.grad = tg.ones(3)
    with pytest.raises(ValueError, match=r"gradient has shape \(3,\), its parameter \(2, 3\)"):
        optim.SGD([p]).step()


# -- saving and restoring --


def trained(make, steps, parameters=None):
    parameters = [leaf(3, 2), leaf(4), leaf()] if parameters is None else parameters
    optimizer = make([{"params": parameters[:1], "weight_decay": 0.3}, {"params": parameters[1:]}])
    for seed in range(steps):
        set_gradients(parameters, seed)
        optimizer.step()
    return parameters, optimizer


@each
@pytest.mark.parametrize("form", ["direct", "flat and JSON"])
def test_a_restored_run_goes_on_bit_for_bit(make, form):
    parameters, optimizer = trained(make, 5)
    saved = optimizer.state_dict()
    if form != "direct":
        arrays, rest = optim.flatten_state(saved)
        assert all(isinstance(a, np.ndarray) for a in arrays.values())
        arrays = {name: a.copy() for name, a in arrays.items()}
        saved = optim.unflatten_state(arrays, json.loads(json.dumps(rest)))
    again = [tg.tensor(p.array, requires_grad=True) for p in parameters]
    _, restored = trained(make, 0, again)
    restored.param_groups[0]["lr"] = 123.0
    restored.load_state_dict(saved)
    assert restored.param_groups[0]["lr"] == 0.1
    assert restored.param_groups[0]["weight_decay"] == 0.3
    for seed in range(5, 9):
        for ps, opt in ((parameters, optimizer), (again, restored)):
            set_gradients(ps, seed)
            opt.step()
    for p, q in zip(parameters, again, strict=True):
        np.testing.assert_array_equal(p.array, q.array)


def test_the_form_is_pytorchs():
    (p, q, r), optimizer = trained(CLASSES["AdamW"], 2)
    state = optimizer.state_dict()
    assert list(state) == ["state", "param_groups"]
    assert sorted(state["state"]) == [0, 1, 2]
    assert state["state"][1]["exp_avg"] is optimizer.state[q]["exp_avg"]
    assert set(state["state"][0]) == {"step", "exp_avg", "exp_avg_sq"}
    assert state["state"][0]["step"] == 2
    assert [g["params"] for g in state["param_groups"]] == [[0], [1, 2]]
    assert state["param_groups"][0]["betas"] == (0.7, 0.8)
    assert optimizer.param_groups[0]["params"][0] is p  # not replaced by its number
    assert len(trained(lambda p: optim.SGD(p), 2)[1].state_dict()["state"]) == 0


def test_loading_copies():
    parameters, optimizer = trained(CLASSES["AdamW"], 2)
    saved = optimizer.state_dict()
    _, restored = trained(CLASSES["AdamW"], 0, [leaf(3, 2), leaf(4), leaf()])
    restored.load_state_dict(saved)
    optimizer.state[parameters[0]]["exp_avg"].array[...] = 77
    optimizer.param_groups[0]["lr"] = 77
    p = restored.param_groups[0]["params"][0]
    assert not (restored.state[p]["exp_avg"].array == 77).any()
    assert restored.param_groups[0]["lr"] == 0.1


def test_settings_keep_their_type_through_json():
    _, optimizer = trained(CLASSES["AdamW"], 1)
    _, rest = optim.flatten_state(optimizer.state_dict())
    assert json.loads(json.dumps(rest))["param_groups"][0]["betas"] == [0.7, 0.8]
    optimizer.load_state_dict(
        optim.unflatten_state({}, json.loads(json.dumps({**rest, "state": {}})))
    )
    assert optimizer.param_groups[0]["betas"] == (0.7, 0.8)
    assert not optimizer.state


def wrong_states():
    def drop_group(state):
        del state["param_groups"][1]

    def other_shape(state):
        state["state"][1]["exp_avg"] = tg.zeros(5)

    def other_optimizer(state):
        state["state"][0]["momentum_buffer"] = tg.zeros(3, 2)

    def no_parameter(state):
        state["state"][9] = {}

    def no_step(state):
        state["state"][0]["step"] = -1

    def bad_rate(state):
        state["param_groups"][0]["lr"] = -4.0

    def no_state(state):
        del state["state"]

    return {
        drop_group: r"saved groups have \[1\] parameters, these have \[1, 2\]",
        other_shape: r"state 1, 'exp_avg' has shape \(5,\), its parameter \(4,\)",
        other_optimizer: r"state 0, 'momentum_buffer': this optimiser has .*'exp_avg'",
        no_parameter: "state 9 is of no parameter",
        no_step: "state 0, 'step': -1 is no number of steps",
        bad_rate: r"lr=-4\.0",
        no_state: "expected a dict with 'state' and 'param_groups'",
    }


@pytest.mark.parametrize(("spoil", "message"), wrong_states().items())
def test_a_state_that_does_not_fit_changes_nothing(spoil, message):
    parameters, optimizer = trained(CLASSES["AdamW"], 2)
    saved = copy.deepcopy(optimizer.state_dict())
    for p in parameters:
        optimizer.state[p]["exp_avg"].array[...] = 5
    saved["param_groups"][0]["lr"] = 9.0
    spoil(saved)
    with pytest.raises(CheckpointError, match=message):
        optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert len(optimizer.param_groups) == 2
    assert all((optimizer.state[p]["exp_avg"].array == 5).all() for p in parameters)


def test_flat_names_that_have_no_place_are_named():
    _, optimizer = trained(CLASSES["AdamW"], 1)
    arrays, rest = optim.flatten_state(optimizer.state_dict())
    assert "0.exp_avg" in arrays
    assert arrays["0.exp_avg"].shape == (3, 2)
    for name in ("9.exp_avg", "exp_avg", "0"):
        with pytest.raises(CheckpointError, match=name):
            optim.unflatten_state({name: np.zeros(1)}, rest)
    with pytest.raises(CheckpointError, match="missing"):
        optim.unflatten_state(arrays, {})


def test_repr_tells_groups_and_settings():
    _, optimizer = trained(CLASSES["AdamW"], 0)
    text = repr(optimizer)
    assert "group 1: 2 tensors, 5 numbers, lr=0.1" in text
    assert text.startswith("AdamW(")
