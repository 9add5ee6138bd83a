"""The recurrent language model: the state that is carried along."""

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import models, optim, rng

V = 11
every_cell = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])


def build(cell, **config):
    tg.manual_seed(2)
    return models.build("rnn", cell=cell, vocab_size=V, n_embd=6, n_hidden=8, n_layer=2, **config)


def ids_of(shape, seed=0):
    return np.random.default_rng(seed).integers(0, V, shape)


@every_cell
def test_a_text_in_pieces_with_the_state_carried_over_is_the_text(cell):
    model = build(cell)
    ids = ids_of((2, 9))
    whole = model(ids).logits.array
    first = model(ids[:, :4], use_cache=True)
    second = model(ids[:, 4:], past_key_values=first.past_key_values, use_cache=True)
    np.testing.assert_allclose(
        np.concatenate([first.logits.array, second.logits.array], 1), whole, rtol=1e-5, atol=1e-6
    )
    assert second.past_key_values.length == 9


@every_cell
def test_padding_on_the_left_in_pieces(cell):
    model = build(cell)
    ids = ids_of((2, 9))
    mask = np.ones_like(ids)
    mask[0, :6] = 0  # padding reaches into the second piece
    first = model(ids[:, :4], attention_mask=mask[:, :4], use_cache=True)
    second = model(ids[:, 4:], attention_mask=mask, past_key_values=first.past_key_values)
    got = second.logits.array
    np.testing.assert_allclose(got[1], model(ids[1:]).logits.array[0, 4:], rtol=1e-5, atol=1e-6)
    alone = model(ids[:1, 6:]).logits.array[0]
    np.testing.assert_allclose(got[0, 2:], alone, rtol=1e-5, atol=1e-6)


@every_cell
def test_truncated_backpropagation_stops_at_the_border_of_the_pieces(cell):
    def embedding_gradient(truncate):
        model = build(cell)
        first = model(np.array([[1, 2]]), use_cache=True).past_key_values
        state = first.detach() if truncate else first
        model(np.array([[3, 4, 5]]), labels=[[3, 4, 5]], past_key_values=state).loss.backward()
        return model.embedding.weight.grad.array

    assert np.abs(embedding_gradient(False)[[1, 2]]).min(axis=1).max() > 0
    np.testing.assert_array_equal(embedding_gradient(True)[[1, 2]], 0)
    assert np.abs(embedding_gradient(True)[[3, 4]]).max() > 0


@every_cell
def test_it_remembers_what_a_short_n_gram_cannot(cell):
    # The last token repeats the first, five steps later; between them everything is the same.
    tg.manual_seed(1)
    model = models.build("rnn", cell=cell, vocab_size=V, n_embd=16, n_hidden=32)
    inputs = np.zeros((4, 6), np.int64)
    inputs[:, 0] = np.arange(1, 5)
    targets = np.full((4, 6), -100)
    targets[:, -1] = inputs[:, 0]
    optimizer = optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(150):
        optimizer.zero_grad()
        loss = model.loss(inputs, targets)
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert loss.item() < 0.2  # a model without memory is at ln 4 = 1.39 at best


def test_dropout_of_embeddings_between_layers_and_of_the_last_states():
    model = build("gru", dropout=0.5)  # 2 layers
    drawn = rng.state.streams
    first = model(ids_of((4, 9))).logits.array
    assert rng.state.streams - drawn == 3  # each mask has a stream of its own
    assert np.abs(model(ids_of((4, 9))).logits.array - first).max() > 1e-5


def test_forget_gates_start_open():
    model = build("lstm")
    for layer in range(2):
        bias = getattr(model.rnn, f"bias_ih_l{layer}").array.reshape(4, 8)
        assert bias[1].min() > 0.5
        assert np.abs(bias[[0, 2, 3]]).max() < 0.5


def test_a_matrix_without_gates_starts_by_keeping_lengths():
    model = build("rnn")
    for layer in range(2):
        matrix = getattr(model.rnn, f"weight_hh_l{layer}").array
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(8), atol=1e-6)


def test_tied_words_are_one_matrix():
    tg.manual_seed(0)
    model = models.build("lstm", vocab_size=V, n_embd=8, n_hidden=8, tie_word_embeddings=True)
    assert model.output.weight is model.embedding.weight
    model.loss(ids_of((2, 3)), ids_of((2, 3))).backward()
    untied = models.build("lstm", vocab_size=V, n_embd=8, n_hidden=8)
    assert untied.num_parameters() - model.num_parameters() == V * 8
