"""The simple layers: against their formulas, with every size different, then 1 and 0."""

import math

import numpy as np
import pytest

import tinygrad_llm as tg
import tinygrad_llm.functional as F
from tinygrad_llm import nn


def test_linear(random, check_slopes):
    layer = nn.Linear(3, 5).double()
    x = random(2, 4, 3)
    out = layer(tg.tensor(x))
    np.testing.assert_allclose(out.array, x @ layer.weight.array.T + layer.bias.array, rtol=1e-12)
    assert layer.weight.shape == (5, 3)
    assert layer(tg.tensor(x[0, 0])).shape == (5,)
    assert layer(tg.zeros(0, 3, dtype=tg.float64)).shape == (0, 5)
    assert check_slopes(layer, x)
    plain = nn.Linear(3, 1, bias=False)
    assert plain.bias is None
    assert list(plain.state_dict()) == ["weight"]
    assert plain(tg.ones(2, 3)).shape == (2, 1)


def test_embedding(random, check_slopes):
    layer = nn.Embedding(6, 4, padding_idx=2).double()
    ids = np.array([[0, 5, 2], [5, 5, 1]])
    out = layer(tg.tensor(ids))
    np.testing.assert_array_equal(out.array, layer.weight.array[ids])
    weights = random(2, 3, 4)
    (out * tg.tensor(weights)).sum().backward()
    expected = np.zeros((6, 4))
    np.add.at(expected, ids, weights)  # the row of 5 collects three gradients
    expected[2] = 0  # padding
    np.testing.assert_allclose(layer.weight.grad.array, expected, rtol=1e-12)
    assert layer(tg.zeros(0, dtype=tg.int64)).shape == (0, 4)
    with pytest.raises(IndexError, match="6"):
        layer(tg.tensor([6]))
    with pytest.raises(ValueError, match="padding_idx=6 is out of range for num_embeddings=6"):
        nn.Embedding(6, 4, padding_idx=6)
    assert check_slopes(nn.Embedding(6, 4), ids)


@pytest.mark.parametrize("shape", [(5,), (3, 5)])
@pytest.mark.parametrize(("affine", "bias"), [(True, True), (True, False), (False, True)])
def test_layer_norm(random, check_slopes, shape, affine, bias):
    layer = nn.LayerNorm(shape, eps=0.1, elementwise_affine=affine, bias=bias).double()
    for p in layer.parameters():
        p.array[...] = random(*p.shape)
    x = random(2, 3, 5)
    axes = tuple(range(-len(shape), 0))
    centred = x - x.mean(axes, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(axes, keepdims=True) + 0.1)
    if affine:
        expected = expected * layer.weight.array + (layer.bias.array if bias else 0)
    np.testing.assert_allclose(layer(tg.tensor(x)).array, expected, rtol=1e-10, atol=1e-12)
    assert len(list(layer.parameters())) == affine * (1 + bias)
    assert check_slopes(layer, x)


@pytest.mark.parametrize("affine", [True, False])
def test_rms_norm(random, check_slopes, affine):
    layer = nn.RMSNorm(5, eps=0.1, elementwise_affine=affine).double()
    for p in layer.parameters():
        p.array[...] = random(*p.shape)
    x = random(2, 3, 5)
    expected = x / np.sqrt((x**2).mean(-1, keepdims=True) + 0.1)
    expected = expected * layer.weight.array if affine else expected
    np.testing.assert_allclose(layer(tg.tensor(x)).array, expected, rtol=1e-10)
    assert check_slopes(layer, x)
    assert np.isfinite(nn.RMSNorm(5)(tg.zeros(2, 5)).array).all()  # eps=None is not 0


def test_activations(random, check_slopes):
    x = random(3, 4)
    sigmoid = 1 / (1 + np.exp(-x))
    erf = np.vectorize(math.erf)
    for layer, expected in [
        (nn.ReLU(), np.maximum(x, 0)),
        (nn.GELU(), x * 0.5 * (1 + erf(x / math.sqrt(2)))),
        (
            nn.GELU(approximate="tanh"),
            0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        ),
        (nn.SiLU(), x * sigmoid),
        (nn.Sigmoid(), sigmoid),
        (nn.Tanh(), np.tanh(x)),
        (nn.Softmax(dim=0), np.exp(x) / np.exp(x).sum(0)),
        (nn.Identity("whatever", is_="given"), x),
    ]:
        np.testing.assert_allclose(layer(tg.tensor(x)).array, expected, rtol=1e-12)
        assert check_slopes(layer, x)
    with pytest.raises(ValueError, match="approximate='erf'"):
        nn.GELU("erf")


def test_dropout_acts_in_training_alone():
    layer = nn.Dropout(0.3)
    x = tg.ones(400, 500)
    out = layer(x)
    values = np.unique(out.array)
    np.testing.assert_allclose(values, [0, 1 / 0.7], rtol=1e-6)
    assert (out.array == 0).mean() == pytest.approx(0.3, abs=0.005)
    assert not np.array_equal(layer(x).array, out.array)  # another mask each time
    layer.eval()
    assert layer(x) is x
    assert (nn.Dropout(1.0)(x).array == 0).all()
    assert nn.Dropout(0.0)(x) is x
    for p in (-0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match="must be a probability"):
            nn.Dropout(p)


def test_dropout_follows_the_seed_and_its_mask_the_gradient():
    layer = nn.Dropout(0.5)
    x = tg.ones(50, 3, requires_grad=True)
    tg.manual_seed(3)
    out = layer(x)
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.array, out.array)
    tg.manual_seed(3)
    np.testing.assert_array_equal(layer(x).array, out.array)


def test_sequential(random):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = tg.tensor(random(5, 3).astype(np.float32))
    expected = model[2](model[0](x).tanh())
    np.testing.assert_array_equal(model(x).array, expected.array)
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    model.eval()  # adds an attribute that is no layer
    assert len(model) == 3
    assert [type(m).__name__ for m in model] == ["Linear", "Tanh", "Linear"]
    assert model[-1] is model[2]
    front = model[:2]
    assert isinstance(front, nn.Sequential)
    assert front[0] is model[0]
    assert len(front) == 2
    assert model.append(nn.ReLU()) is model
    assert isinstance(model[3], nn.ReLU)
    assert (model(x).array >= 0).all()
    with pytest.raises(IndexError, match="4 is out of range for 4 modules"):
        model[4]
    assert nn.Sequential()(x) is x


def test_sequential_with_names():
    model = nn.Sequential({"up": nn.Linear(2, 3), "act": nn.ReLU()})
    assert list(model.state_dict()) == ["up.weight", "up.bias"]
    assert model.up is model[0]
    with pytest.raises(TypeError, match=r"'1' is no Module.*Sequential\(\*layers\)"):
        nn.Sequential(nn.ReLU(), [nn.ReLU()])
    for name in ("forward", "a.b", "_hidden", "training"):
        with pytest.raises(ValueError, match="cannot be the name of a module"):
            nn.Sequential({name: nn.ReLU()})
    with pytest.raises(TypeError, match="expected a Module, not function"):
        model.append(F.relu)


def test_pytorchs_containers_are_lists_and_dicts():
    class Model(nn.Module):
        def __init__(self):
            self.layers = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(2))
            self.heads = nn.ModuleDict({"a": nn.Linear(1, 2, bias=False)})

    assert list(Model().state_dict()) == ["layers.0.weight", "layers.1.weight", "heads.a.weight"]


@pytest.mark.parametrize(
    ("name", "function"),
    [("relu", F.relu), ("gelu", F.gelu), ("silu", F.silu), ("tanh", F.tanh)]
    + [("gelu_new", lambda x: F.gelu(x, approximate="tanh"))],
)
def test_feed_forward(random, check_slopes, name, function):
    layer = nn.FeedForward(3, 7, activation=name).double()
    x = random(2, 4, 3)
    w1, b1, w2, b2 = (p.array for p in layer.parameters())
    assert w1.shape == (7, 3)
    hidden = function(tg.tensor(x @ w1.T + b1)).array
    np.testing.assert_allclose(layer(tg.tensor(x)).array, hidden @ w2.T + b2, rtol=1e-11)
    assert check_slopes(layer, x)
    assert nn.FeedForward(3).linear1.out_features == 12
    with pytest.raises(ValueError, match="activation='relo' is not known; use one of 'relu'"):
        nn.FeedForward(3, activation="relo")


def test_swiglu(random, check_slopes):
    layer = nn.SwiGLU(3, 7).double()
    x = random(2, 4, 3)
    gate, up, down = (p.array for p in layer.parameters())
    a = x @ gate.T
    expected = (a / (1 + np.exp(-a)) * (x @ up.T)) @ down.T
    np.testing.assert_allclose(layer(tg.tensor(x)).array, expected, rtol=1e-11)
    assert check_slopes(layer, x)
    assert [n for n, _ in layer.named_parameters()] == [
        "gate_proj.weight",
        "up_proj.weight",
        "down_proj.weight",
    ]
    assert nn.SwiGLU(96).gate_proj.out_features == 256  # 8/3 * 96, a multiple of 64 already
    assert nn.SwiGLU(97).gate_proj.out_features == 320
    assert nn.SwiGLU(30, multiple_of=1).gate_proj.out_features == 80
    with pytest.raises(ValueError, match="multiple_of=0"):
        nn.SwiGLU(3, multiple_of=0)


def test_losses_pass_their_options_on(random):
    logits = tg.tensor(random(6, 4))
    target = tg.tensor([0, 3, 1, -1, 2, 2])
    weight = tg.tensor(np.arange(1.0, 5))
    given = {"ignore_index": -1, "reduction": "sum", "label_smoothing": 0.2}
    loss = nn.CrossEntropyLoss(weight, **given)
    assert loss(logits, target).item() == F.cross_entropy(logits, target, weight, **given).item()
    assert loss(logits, target).item() != F.cross_entropy(logits, target, ignore_index=-1).item()
    assert list(loss.state_dict()) == ["weight"]
    log_p = F.log_softmax(logits, 1)
    nll = nn.NLLLoss(weight, ignore_index=-1, reduction="none")(log_p, target)
    expected = F.nll_loss(log_p, target, weight, ignore_index=-1, reduction="none")
    np.testing.assert_array_equal(nll.array, expected.array)
    y = tg.tensor(random(6, 4))
    assert nn.MSELoss("sum")(logits, y).item() == pytest.approx(((logits - y) ** 2).sum().item())
    bce = nn.BCEWithLogitsLoss(weight, "sum", pos_weight=weight)
    p = tg.tensor(np.random.default_rng(1).random((6, 4)))
    assert bce(logits, p).item() == pytest.approx(
        F.binary_cross_entropy_with_logits(
            logits, p, weight, reduction="sum", pos_weight=weight
        ).item()
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(3, -1), "Linear: out_features=-1 must be an integer >= 0"),
        (lambda: nn.Linear(3.0, 2), r"in_features=3\.0"),
        (lambda: nn.Embedding(True, 2), "num_embeddings=True"),
        (lambda: nn.LayerNorm(()), r"normalized_shape=\(\)"),
        (lambda: nn.RMSNorm((3, -1)), r"normalized_shape=\(3, -1\)"),
    ],
)
def test_sizes_that_make_no_sense_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_layers_look_functions_up_when_called(monkeypatch, random):
    """So a student's layer_norm, put in by name, is the one that runs."""
    layer = nn.LayerNorm(4)
    monkeypatch.setattr(F, "layer_norm", lambda x, *rest: x + 100)
    x = tg.tensor(random(2, 4).astype(np.float32))
    np.testing.assert_array_equal(layer(x).array, x.array + 100)
