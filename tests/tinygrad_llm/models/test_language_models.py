"""What holds for every neural language model, whatever its architecture."""

import math

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import models, optim
from tinygrad_llm.errors import ConfigError

V = 11  # all sizes different, and none a power of two by accident

CONFIGS = {
    "gpt2": ("gpt2", {"n_positions": 13, "n_embd": 12, "n_layer": 2, "n_head": 3}),
    "gpt2, odd": (
        "gpt2",
        {
            "n_positions": 13, "n_embd": 10, "n_layer": 1, "n_head": 1, "n_inner": 7, "bias": False,
            "tie_word_embeddings": False, "activation_function": "silu",
            "scale_attn_by_inverse_layer_idx": True,
        },
    ),
    "mlp": ("mlp", {"order": 5, "n_embd": 6, "n_hidden": 14}),
    "mlp, gelu, direct": (
        "mlp", {"order": 3, "n_embd": 6, "n_hidden": 14, "activation": "gelu", "direct": True},
    ),
    "rnn": ("rnn", {"cell": "rnn", "n_embd": 6, "n_hidden": 9}),
    "lstm": ("lstm", {"n_embd": 6, "n_hidden": 9, "n_layer": 2}),
    "lstm, tied": ("lstm", {"n_embd": 8, "n_hidden": 8, "tie_word_embeddings": True}),
    "gru": ("gru", {"n_embd": 6, "n_hidden": 9, "n_layer": 2}),
}  # fmt: skip
DROPOUTS = {
    "gpt2": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
}


def build(name, seed=3, dropout=0.0, **changes):
    """A small model of one of CONFIGS, without dropout unless asked for."""
    tg.manual_seed(seed)
    model_type, config = CONFIGS[name]
    names = DROPOUTS.get(model_type, {"dropout": 0.0})
    config = {"vocab_size": V, **config, **dict.fromkeys(names, dropout), **changes}
    return models.build(model_type, **config)


def ids_of(shape, seed=0):
    return np.random.default_rng(seed).integers(0, V, shape)


every_model = pytest.mark.parametrize("name", CONFIGS)
# An mlp keeps nothing between calls: only the last few ids count anyway.
with_cache = pytest.mark.parametrize("name", [n for n in CONFIGS if CONFIGS[n][0] != "mlp"])


@every_model
def test_logits_have_one_row_of_scores_a_token_and_the_right_dtype(name):
    model = build(name)
    ids = ids_of((3, 7))
    out = model(ids)
    assert out.logits.shape == (3, 7, V)
    assert out.logits.dtype == np.float32
    assert out.loss is None
    assert out.past_key_values is None
    # A tensor, an array and a list are the same ids.
    for given in (tg.tensor(ids), ids.astype(np.uint16), ids.tolist()):
        np.testing.assert_array_equal(model(given).logits.array, out.logits.array)


@every_model
def test_initial_loss_is_near_that_of_guessing(name):
    model = build(name)
    loss = model.loss(ids_of((5, 9)), ids_of((5, 9), seed=1)).item()
    assert abs(loss - math.log(V)) < 0.1


@every_model
def test_labels_are_shifted_inside_and_targets_are_not(name):
    model = build(name)
    ids = ids_of((4, 8))
    expected = model.loss(ids[:, :-1], ids[:, 1:]).item()
    assert model(ids, labels=ids).loss.item() == pytest.approx(expected, rel=1e-5)
    # And by hand, from the definition.
    logits = model(ids).logits.detach().numpy().astype(np.float64)[:, :-1]
    log_p = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    picked = np.take_along_axis(log_p, ids[:, 1:, None], axis=-1)
    assert expected == pytest.approx(-picked.mean(), rel=1e-5)


@every_model
def test_labels_of_minus_100_are_left_out(name):
    model = build(name)
    ids = ids_of((2, 6))
    labels = ids.copy()
    labels[0, 2:] = -100
    logits = model(ids).logits
    picked = [(0, 0), *((1, t) for t in range(5))]
    rows = tg.stack([logits[b, t] for b, t in picked])
    expected = -np.mean(
        [np.log(softmax(row))[ids[b, t + 1]] for row, (b, t) in zip(rows.tolist(), picked)]
    )
    assert model(ids, labels=labels).loss.item() == pytest.approx(expected, rel=1e-5)


def softmax(row):
    e = np.exp(np.array(row, np.float64) - max(row))
    return e / e.sum()


@every_model
def test_a_later_token_never_changes_earlier_logits(name):
    model = build(name)
    ids = ids_of((2, 9))
    before = model(ids).logits.detach().numpy()
    for t in range(9):
        changed = ids.copy()
        changed[:, t] = (changed[:, t] + 1) % V
        after = model(changed).logits.detach().numpy()
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        assert np.abs(after[:, t] - before[:, t]).max() > 1e-6


@every_model
def test_rows_of_a_batch_do_not_know_each_other(name):
    model = build(name)
    ids = ids_of((3, 6))
    together = model(ids).logits.detach().numpy()
    for row in range(3):
        alone = model(ids[row : row + 1]).logits.detach().numpy()
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-5, atol=1e-6)


@every_model
@pytest.mark.parametrize("shape", [(1, 1), (4, 1), (1, 5)])
def test_odd_sizes(name, shape):
    model = build(name)
    ids = ids_of(shape)
    assert model(ids).logits.shape == (*shape, V)
    loss = model.loss(ids, ids)
    loss.backward()
    assert np.isfinite(loss.item())
    assert model.next_token_logits(ids).shape == (shape[0], V)


@every_model
def test_gradient_of_the_whole_loss_along_a_random_direction(name, check_gradients):
    model = build(name).double()
    # Away from the initial values, where many a gradient is nearly 0 and would hide a mistake.
    generator = np.random.default_rng(5)
    for parameter in model.parameters():
        parameter.array[...] += 0.2 * generator.standard_normal(parameter.shape)
    inputs, targets = ids_of((2, 5)), ids_of((2, 5), seed=1)
    assert check_gradients(model, lambda: model.loss(inputs, targets))


@every_model
def test_it_learns_one_batch_by_heart(name):
    model = build(name, n_embd=24) if name != "lstm, tied" else build(name, n_embd=24, n_hidden=24)
    generator = np.random.default_rng(4)
    # Every token is followed by one and the same: what even a bigram can learn.
    following = generator.permutation(V)
    inputs = generator.integers(0, V, (3, 8))
    targets = following[inputs]
    optimizer = optim.AdamW(model.parameters(), lr=3e-2, weight_decay=0.0)
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.loss(inputs, targets)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


@every_model
def test_the_seed_alone_decides(name):
    def steps(seed):
        model = build(name, seed=seed, dropout=0.3)
        optimizer = optim.AdamW(model.parameters(), lr=1e-2)
        losses = []
        for step in range(3):
            optimizer.zero_grad()
            loss = model.loss(ids_of((2, 6), step), ids_of((2, 6), step + 9))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    assert steps(1) == steps(1)
    assert steps(1) != steps(2)


@every_model
def test_dropout_in_training_only(name):
    model = build(name, dropout=0.5)
    ids = ids_of((2, 6))
    noisy = [model(ids).logits.detach().numpy() for _ in range(2)]
    assert np.abs(noisy[0] - noisy[1]).max() > 1e-5
    model.eval()
    still = [model(ids).logits.detach().numpy() for _ in range(2)]
    np.testing.assert_array_equal(*still)
    plain = build(name).eval()
    np.testing.assert_array_equal(plain(ids).logits.detach().numpy(), still[0])


@every_model
def test_the_last_logits_are_those_of_the_whole_pass(name):
    model = build(name).eval()
    ids = ids_of((3, 7))
    expected = model(ids).logits.detach().numpy()[:, -1]
    got = model.next_token_logits(ids)
    assert isinstance(got, np.ndarray)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@with_cache
@pytest.mark.parametrize("pieces", [(1,) * 9, (4, 1, 1, 3), (9,), (2, 7)])
def test_cached_equals_uncached(name, pieces):
    model = build(name).eval()
    ids = ids_of((2, 9))
    cache = model.new_cache(2, 9)
    assert cache.length == 0
    seen = 0
    for piece in pieces:
        got = model.next_token_logits(ids[:, seen : seen + piece], cache=cache)
        seen += piece
        assert cache.length == seen
        np.testing.assert_allclose(
            got, model.next_token_logits(ids[:, :seen]), rtol=1e-4, atol=1e-5
        )


@with_cache
def test_the_rows_of_a_cache_can_be_exchanged(name):
    model = build(name).eval()
    ids = ids_of((3, 6))
    cache = model.new_cache(3, 8)
    model.next_token_logits(ids, cache=cache)
    order = np.array([2, 0, 0])
    cache.reorder(order)
    following = ids_of((3, 1), seed=7)
    got = model.next_token_logits(following, cache=cache)
    whole = np.concatenate([ids[order], following], axis=1)
    np.testing.assert_allclose(got, model.next_token_logits(whole), rtol=1e-4, atol=1e-5)


@every_model
@pytest.mark.parametrize("cached", [False, True])
def test_padding_on_the_left_changes_nothing(name, cached):
    model = build(name).eval()
    prompts = [ids_of(n, seed=n) for n in (6, 2, 5)]
    width = 6
    ids = np.zeros((3, width), np.int64)
    mask = np.zeros((3, width), np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = prompt
        mask[row, width - len(prompt) :] = 1
    cache = model.new_cache(3, width + 2) if cached else None
    for step in range(3):
        given = ids[:, -1:] if step and cache is not None else ids
        got = model.next_token_logits(given, attention_mask=mask, cache=cache)
        for row in range(3):
            alone = ids[row : row + 1][:, mask[row] == 1]
            expected = model.next_token_logits(alone)[0]
            np.testing.assert_allclose(got[row], expected, rtol=1e-4, atol=1e-5)
        ids = np.concatenate([ids, ids_of((3, 1), seed=20 + step)], axis=1)
        mask = np.concatenate([mask, np.ones((3, 1), np.int64)], axis=1)


@every_model
def test_next_token_logits_records_nothing(name, monkeypatch):
    model = build(name)
    recorded = []
    last_logits = type(model).last_logits

    def watched(self, *given):
        logits = last_logits(self, *given)
        recorded.append(logits.requires_grad)
        return logits

    monkeypatch.setattr(type(model), "last_logits", watched)
    model.next_token_logits(ids_of((2, 3)))
    assert recorded == [False]
    assert model.loss(ids_of((2, 3)), ids_of((2, 3))).requires_grad  # recording goes on after it


@every_model
@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([[1, 2, V, 0]], IndexError, r"id 11 at \[0, 2\] .* vocabulary of 11 \(0 to 10\)"),
        ([[1, 2], [0, -1]], IndexError, r"id -1 at \[1, 1\]"),
        ([1, 2, 3], ValueError, r"input_ids: shape \(3,\)"),
        (np.zeros((2, 0), np.int64), ValueError, r"shape \(2, 0\) holds no token"),
        ([[0.5, 1.0]], TypeError, "dtype float64 is not accepted; ids are integers"),
    ],
)
def test_ids_that_make_no_sense(name, ids, error, message):
    model = build(name)
    with pytest.raises(error, match=message):
        model(ids)
    with pytest.raises(error, match=message):
        model.next_token_logits(ids)


@every_model
def test_targets_and_masks_that_do_not_fit(name):
    model = build(name)
    ids = ids_of((2, 5))
    with pytest.raises(ValueError, match=r"targets have shape \(2, 4\), the inputs \(2, 5\)"):
        model.loss(ids, ids[:, 1:])
    with pytest.raises(ValueError, match=r"labels: shape \(1, 5\) does not fit .*\(2, 5\)"):
        model(ids, labels=ids[:1])
    with pytest.raises(ValueError, match=r"attention_mask: shape \(2, 4\).*\(2, 5\)"):
        model(ids, attention_mask=np.ones((2, 4)))


@every_model
def test_the_configuration_comes_back_from_its_dict(name):
    config = build(name).config
    values = config.to_dict()
    assert values["model_type"] == config.model_type
    assert type(config).from_dict(values) == config


@every_model
def test_flops_are_those_of_the_matrix_products(name):
    model = build(name)
    config = model.config
    if config.model_type == "gpt2":
        inner = config.n_inner or 4 * config.n_embd
        block = 4 * config.n_embd**2 + 2 * config.n_embd * inner
        weights = config.n_layer * block + V * config.n_embd
        weights += 2 * config.n_layer * config.n_embd * 9  # scores and means, of 9 tokens
    elif config.model_type == "mlp":
        looked_at = (config.order - 1) * config.n_embd
        weights = looked_at * config.n_hidden + config.n_hidden * V
        weights += looked_at * V if config.direct else 0
    else:
        gates = {"rnn": 1, "lstm": 4, "gru": 3}[config.cell]
        inputs = config.n_embd + config.n_hidden * (config.n_layer - 1)
        weights = gates * config.n_hidden * (inputs + config.n_layer * config.n_hidden)
        weights += config.n_hidden * V
    assert model.flops_per_token(context=9) == 6 * weights
    if config.model_type == "gpt2":
        assert model.flops_per_token() == model.flops_per_token(context=config.n_positions)


@pytest.mark.parametrize(
    ("model_type", "config", "message"),
    [
        ("gpt3", {}, "model_type='gpt3' is not known; use one of ngram, mlp, rnn, gpt2"),
        ("gpt2", {"n_heads": 3}, "GPT2Config: there is no field 'n_heads'; did you mean 'n_head'"),
        (
            "gpt2",
            {"n_embd": 10, "n_head": 3},
            "n_head=3 is not accepted; use a divisor of n_embd=10",
        ),
        ("gpt2", {"n_layer": 0}, "n_layer=0 is not accepted; use an integer of at least 1"),
        ("gpt2", {"vocab_size": True}, "vocab_size=True"),
        ("gpt2", {"vocab_size": 65.0}, "vocab_size=65.0"),
        ("gpt2", {"resid_pdrop": 1.0}, "resid_pdrop=1.0"),
        ("gpt2", {"activation_function": "gleu"}, "activation_function='gleu'.*gelu_new"),
        ("mlp", {"order": 1}, "order=1 is not accepted; use at least 2"),
        ("mlp", {"activation": ["tanh"]}, "activation=\\['tanh'\\]"),
        ("rnn", {"cell": "elman"}, "cell='elman' is not accepted; use rnn, lstm, gru"),
        ("rnn", {"tie_word_embeddings": True}, "the same n_embd and n_hidden"),
        ("lstm", {"dropout": -0.1}, "dropout=-0.1"),
        ("ngram", {"order": 3}, "ngram: .*vocab_size"),
        ("ngram", {"order": 3, "vocab_size": 5, "smooth": 1}, "smooth"),
    ],
)
def test_configurations_that_make_no_sense_name_the_field(model_type, config, message):
    with pytest.raises(ConfigError, match=message):
        models.build(model_type, **config)
