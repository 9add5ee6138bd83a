"""The neural n-gram: what it looks at, and that it is the network of the paper."""

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import models
from tinygrad_llm.models.mlp import ACTIVATIONS

V, ORDER = 11, 4


def build(**config):
    tg.manual_seed(2)
    return models.build("mlp", vocab_size=V, order=ORDER, n_embd=5, n_hidden=6, **config)


def ids_of(shape, seed=0):
    return np.random.default_rng(seed).integers(0, V, shape)


def test_windows_end_at_their_position_and_begin_with_nothing():
    windows = build().windows(np.array([[7, 8, 9, 10]]))
    assert windows.tolist() == [[[V, V, 7], [V, 7, 8], [7, 8, 9], [8, 9, 10]]]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("direct", [False, True])
def test_the_equation_of_the_paper(activation, direct):
    bends = {
        "tanh": np.tanh,
        "relu": lambda z: np.maximum(z, 0),
        "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
        "gelu": None,
    }
    if bends[activation] is None:
        from math import erf, sqrt

        bends["gelu"] = np.vectorize(lambda z: z * (1 + erf(z / sqrt(2))) / 2)
    model = build(activation=activation, direct=direct)
    generator = np.random.default_rng(1)
    for parameter in model.parameters():
        parameter.array[...] = generator.standard_normal(parameter.shape)
    p = {name: tensor.array.astype(np.float64) for name, tensor in model.state_dict().items()}
    ids = [3, 9, 4, 4, 0]
    x = np.concatenate([p["embedding.weight"][i] for i in ids[-(ORDER - 1) :]])
    a = bends[activation](p["hidden.weight"] @ x + p["hidden.bias"])
    y = p["output.weight"] @ a + p["output.bias"]
    if direct:
        y += p["direct.weight"] @ x
    np.testing.assert_allclose(model([ids]).logits.array[0, -1], y, rtol=1e-4, atol=1e-4)


def test_it_sees_exactly_order_minus_one_tokens():
    model = build().eval()
    ids = ids_of((1, 9))
    before = model.next_token_logits(ids)
    for t in range(9):
        changed = ids.copy()
        changed[0, t] = (changed[0, t] + 1) % V
        same = np.array_equal(model.next_token_logits(changed), before)
        assert same == (t < 9 - (ORDER - 1))


def test_the_time_of_a_token_does_not_grow_with_the_text(monkeypatch):
    model = build().eval()
    seen = []
    windows = type(model).windows
    monkeypatch.setattr(
        type(model), "windows", lambda self, ids: seen.append(ids.shape) or windows(self, ids)
    )
    for length in (2, 30, 700):
        model.next_token_logits(ids_of((1, length)))
    assert seen == [(1, 2), (1, ORDER - 1), (1, ORDER - 1)]


def test_order_two_is_a_bigram():
    tg.manual_seed(0)
    model = models.build("mlp", vocab_size=V, order=2, n_embd=5, n_hidden=6)
    ids = np.array([[3, 5, 3, 8]])
    logits = model(ids).logits.array[0]
    np.testing.assert_array_equal(logits[0], logits[2])
