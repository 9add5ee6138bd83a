"""The recurrent layers against PyTorch's, against their definition, and against differences."""

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.models.recurrent import GATES, Recurrent, RecurrentState

every_cell = pytest.mark.parametrize("cell", GATES)
B, T, E, H = 3, 5, 4, 7


def layers(cell, n_layer=2, seed=1, **options):
    tg.manual_seed(seed)
    return Recurrent(cell, E, H, n_layer, **options)


def inputs(seed=0, shape=(B, T, E)):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def one_step(cell, w, x, h, c):
    """The equations, gate by gate, of one layer and one sequence."""
    if cell == "rnn":
        return np.tanh(w["ih"] @ x + w["b_ih"] + w["hh"] @ h + w["b_hh"]), c
    parts = {
        k: (w["ih"][n] @ x + w["b_ih"][n], w["hh"][n] @ h + w["b_hh"][n])
        for k, n in enumerate(np.split(np.arange(GATES[cell] * H), GATES[cell]))
    }
    if cell == "lstm":
        i, f, g, o = (sum(parts[k]) for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    r, z = sigmoid(sum(parts[0])), sigmoid(sum(parts[1]))
    n = np.tanh(parts[2][0] + r * parts[2][1])
    return (1 - z) * n + z * h, c


@every_cell
def test_every_step_follows_the_equations(cell):
    rnn = layers(cell, n_layer=1)
    state = {name: p.detach().numpy().astype(np.float64) for name, p in rnn.named_parameters()}
    w = {
        "ih": state["weight_ih_l0"], "hh": state["weight_hh_l0"],
        "b_ih": state["bias_ih_l0"], "b_hh": state["bias_hh_l0"],
    }  # fmt: skip
    x = inputs()
    got, after = rnn(tg.tensor(x))
    assert got.shape == (B, T, H)
    assert after.length == T
    for row in range(B):
        h, c = np.zeros(H), np.zeros(H)
        for t in range(T):
            h, c = one_step(cell, w, x[row, t], h, c)
            np.testing.assert_allclose(got.array[row, t], h, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(after.h[0].array[row], h, rtol=1e-4, atol=1e-6)
        if cell == "lstm":
            np.testing.assert_allclose(after.c[0].array[row], c, rtol=1e-4, atol=1e-6)


@every_cell
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("steps", [1, 4])
def test_gradients(cell, masked, steps, check_gradients):
    rnn = layers(cell).double()
    x = tg.tensor(inputs(shape=(B, steps, E)).astype(np.float64), requires_grad=True)
    state = rnn.zero_state(B)
    generator = np.random.default_rng(3)
    before = [*state.h, *state.c]
    for tensor in before:
        tensor.array[...] = generator.standard_normal(tensor.shape)
        tensor.requires_grad_()
    keep = generator.random((B, steps)) < 0.6 if masked else None

    def run():
        y, after = rnn(x, state, keep)
        return (y, *after.h, *after.c)  # the last states too: truncated BPTT starts from them

    assert check_gradients(rnn, run, [x, *before])


@every_cell
def test_a_sequence_in_pieces_is_the_sequence(cell):
    rnn = layers(cell)
    x = tg.tensor(inputs())
    whole, end = rnn(x)
    first, state = rnn(x[:, :2])
    second, state = rnn(x[:, 2:], state)
    np.testing.assert_allclose(tg.cat([first, second], 1).array, whole.array, rtol=1e-5, atol=1e-6)
    for got, expected in zip([*state.h, *state.c], [*end.h, *end.c], strict=True):
        np.testing.assert_allclose(got.array, expected.array, rtol=1e-5, atol=1e-6)
    assert state.length == T


@every_cell
def test_a_step_that_is_not_kept_leaves_a_state_of_zeros(cell):
    rnn = layers(cell)
    x = tg.tensor(inputs())
    keep = np.array([[1, 1, 0, 1, 1]] * B, bool)
    got, _ = rnn(x, keep=keep)
    np.testing.assert_array_equal(got.array[:, 2], 0)
    fresh, _ = rnn(x[:, 3:])
    np.testing.assert_allclose(got.array[:, 3:], fresh.array, rtol=1e-5, atol=1e-6)


def test_detached_states_stop_the_gradient_and_share_the_values():
    rnn = layers("lstm", n_layer=1)
    x = tg.tensor(inputs(), requires_grad=True)
    _, state = rnn(x)
    cut = state.detach()
    assert cut.length == T
    assert cut.h[0].array is state.h[0].array
    rnn(tg.tensor(inputs(seed=1)), cut)[0].sum().backward()
    assert x.grad is None
    rnn(tg.tensor(inputs(seed=1)), state)[0].sum().backward()
    assert np.abs(x.grad.array).max() > 0


@every_cell
def test_gates_that_saturate_stay_finite(cell):
    rnn = layers(cell)
    x = tg.tensor(1e4 * inputs(), requires_grad=True)
    with np.errstate(all="raise", under="ignore"):
        y, _ = rnn(x)
        y.sum().backward()
    assert np.isfinite(y.array).all()
    assert np.isfinite(x.grad.array).all()


def test_dropout_between_layers_in_training_only():
    rnn = layers("gru", dropout=0.5)
    x = tg.tensor(inputs())
    assert not np.array_equal(rnn(x)[0].array, rnn(x)[0].array)
    rnn.eval()
    expected = layers("gru")(x)[0].array
    np.testing.assert_array_equal(rnn(x)[0].array, expected)
    single = layers("gru", n_layer=1, dropout=0.5)  # there is nothing between one layer
    np.testing.assert_array_equal(single(x)[0].array, single(x)[0].array)


def test_rows_of_a_state_are_exchanged_and_repeated():
    state = RecurrentState([tg.arange(6).reshape(3, 2)], [], 4)
    state.reorder([2, 2, 0])
    assert state.h[0].tolist() == [[4, 5], [4, 5], [0, 1]]
    assert state.length == 4


def test_an_unknown_cell_is_named():
    with pytest.raises(ValueError, match="cell='LSTM' is not accepted; use one of rnn, lstm, gru"):
        Recurrent("LSTM", E, H)


@pytest.mark.parity
@every_cell
def test_equal_to_pytorch(cell):
    torch = pytest.importorskip("torch")
    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    theirs = kind(E, H, num_layers=2, batch_first=True)
    ours = layers(cell)
    ours.load_state_dict({name: p.detach().numpy() for name, p in theirs.named_parameters()})

    x = inputs(seed=2, shape=(B, 11, E))
    weight = inputs(seed=3, shape=(B, 11, H))
    start = [inputs(seed=4 + i, shape=(2, B, H)) for i in range(2 if cell == "lstm" else 1)]
    their_x = torch.tensor(x, requires_grad=True)
    their_start = [torch.tensor(s) for s in start]
    their_y, their_end = theirs(their_x, tuple(their_start) if cell == "lstm" else their_start[0])
    (their_y * torch.tensor(weight)).sum().backward()

    our_x = tg.tensor(x, requires_grad=True)
    states = [[tg.tensor(layer) for layer in s] for s in start]
    our_y, our_end = ours(our_x, RecurrentState(states[0], states[1] if cell == "lstm" else []))
    (our_y * tg.tensor(weight)).sum().backward()

    np.testing.assert_allclose(our_y.array, their_y.detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(our_x.grad.array, their_x.grad, rtol=1e-4, atol=1e-5)
    ends = their_end if cell == "lstm" else (their_end,)
    for got, expected in zip((our_end.h, our_end.c), ends):
        for layer in range(2):
            np.testing.assert_allclose(
                got[layer].array, expected[layer].detach(), rtol=1e-5, atol=1e-6
            )
    gradients = {name: p.grad for name, p in ours.named_parameters()}
    for name, p in theirs.named_parameters():
        np.testing.assert_allclose(
            gradients[name].array, p.grad, rtol=1e-4, atol=1e-5, err_msg=name
        )
