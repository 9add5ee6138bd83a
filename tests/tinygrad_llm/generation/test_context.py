"""What is read of a text: the cached path is the slow path, also when the context is outgrown."""

import numpy as np
import pytest

from tinygrad_llm import is_grad_enabled
from tinygrad_llm.generation import generate
from tinygrad_llm.generation.context import Inference, Reader, window_length
from tinygrad_llm.generation.prompts import Prompts, prepare

MODES = {
    "greedy": {},
    "sampling": {"do_sample": True, "temperature": 1.3, "top_k": 6, "seed": 5},
    "several": {"do_sample": True, "num_return_sequences": 3, "top_p": 0.9, "seed": 6},
    "penalty": {"repetition_penalty": 1.7},
    "beam": {"num_beams": 3, "length_penalty": 0.7},
    "beam, eos": {"num_beams": 4, "eos_token_id": [2, 3], "num_return_sequences": 2},
    "greedy, eos": {"eos_token_id": [2, 3]},
    "drawn beams": {"num_beams": 2, "do_sample": True, "seed": 7},
}
PROMPTS = {
    "one": [[1, 4, 2]],
    "equal": [[1, 4, 2], [5, 5, 9], [0, 3, 1]],
    "unequal": [[1, 4, 2, 2, 7], [6], [0, 3, 1], [10, 8, 7, 6, 5, 4, 3, 2]],
    "beyond": [[1, 4] * 7, [3, 5, 8] * 3, [2], list(range(11)) * 2],
}


def test_the_window_grows_until_it_is_full_and_then_shrinks_to_its_half():
    expected = [1, 2, 3, 4, 5, 6, 7, 8, 4, 5, 6, 7, 8, 4, 5, 6, 7, 8, 4]
    assert [int(window_length(n, 8)) for n in range(1, 20)] == expected
    assert [int(window_length(n, 5)) for n in range(1, 11)] == [1, 2, 3, 4, 5, 3, 4, 5, 3, 4]
    assert [int(window_length(n, 1)) for n in range(1, 5)] == [1, 1, 1, 1]
    assert [int(window_length(n, 2)) for n in range(1, 7)] == [1, 2, 1, 2, 1, 2]
    assert window_length(12345, None) == 12345
    assert window_length(np.array([3, 9]), 8).tolist() == [3, 4]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("prompts", PROMPTS)
@pytest.mark.parametrize("n_positions", [8, 5, 100])
def test_cached_equals_uncached_through_many_slides(toys, mode, prompts, n_positions):
    model = toys.Attention(n_positions=n_positions)
    options = {"max_new_tokens": 41, **MODES[mode]}
    fast = generate(model, PROMPTS[prompts], **options)
    slow = generate(model, PROMPTS[prompts], use_cache=False, **options)
    np.testing.assert_array_equal(fast, slow)
    if "eos" not in mode:
        assert len(np.unique(fast[:, -41:])) > 4, "a text of many tokens, or this test shows little"


@pytest.mark.parametrize("n_positions", [1, 2, 3])
def test_even_with_the_smallest_contexts(toys, n_positions):
    model = toys.Attention(n_positions=n_positions)
    fast = generate(model, PROMPTS["unequal"], max_new_tokens=9)
    slow = generate(model, PROMPTS["unequal"], max_new_tokens=9, use_cache=False)
    np.testing.assert_array_equal(fast, slow)


@pytest.mark.parametrize("prompts", PROMPTS)
def test_the_logits_are_equal_too(toys, prompts):
    model = toys.Attention()
    given = prepare(PROMPTS[prompts])
    readers = [Reader(model, given, 2, 30, use_cache) for use_cache in (True, False)]
    random = np.random.default_rng(1)
    for step in range(30):
        fast, slow = (reader.read() for reader in readers)
        # float32: the sums of 12 products are formed in other orders; logits are about 10.
        np.testing.assert_allclose(fast, slow, rtol=0, atol=3e-5, err_msg=f"step {step}")
        rows = random.integers(len(fast), size=len(fast))
        if step % 5 == 4:
            rows = np.delete(rows, 0) if len(rows) > 2 else rows
        tokens = random.integers(11, size=len(rows))
        for reader in readers:
            reader.select(rows)
            reader.append(tokens)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("use_cache", [True, False])
def test_each_prompt_of_a_batch_is_as_if_alone(toys, mode, use_cache):
    model = toys.Attention()
    options = {"max_new_tokens": 23, "use_cache": use_cache, **MODES[mode]}
    copies = options.get("num_return_sequences", 1)
    for prompts in PROMPTS.values():
        together = generate(model, prompts, **options)
        width = max(map(len, prompts))
        for i, prompt in enumerate(prompts):
            alone = generate(model, prompt, **options)
            rows = together[i * copies : (i + 1) * copies, width - len(prompt) :]
            np.testing.assert_array_equal(rows[:, : alone.shape[1]], alone)
            padding = min(options.get("eos_token_id", [0]))
            assert (rows[:, alone.shape[1] :] == padding).all()


@pytest.mark.parametrize("mode", ["greedy", "penalty"])
def test_what_was_written_in_two_parts_is_what_is_written_in_one(toys, mode):
    model = toys.Attention()
    whole = generate(model, [[1, 4, 2], [3, 3, 7]], max_new_tokens=40, **MODES[mode])
    for first in range(1, 40):
        part = generate(model, whole[:, : 3 + first], max_new_tokens=40 - first, **MODES[mode])
        np.testing.assert_array_equal(part, whole)


def test_a_state_that_needs_no_window_is_carried_on(toys):
    model = toys.Recurrent()
    prompts = [[1, 4, 2], [5], [0, 3, 1, 8]]
    for options in MODES.values():
        fast = generate(model, prompts, max_new_tokens=30, **options)
        slow = generate(model, prompts, max_new_tokens=30, use_cache=False, **options)
        np.testing.assert_array_equal(fast, slow)


def test_a_cache_that_cannot_mend_single_rows_is_built_anew(toys):
    model = toys.Recurrent(n_positions=6)
    prompts = [[1, 4, 2], [5], [0, 3, 1, 8]]
    fast = generate(model, prompts, max_new_tokens=30)
    slow = generate(model, prompts, max_new_tokens=30, use_cache=False)
    np.testing.assert_array_equal(fast, slow)


def test_a_model_without_a_cache_reads_the_last_tokens_it_can(toys):
    model = toys.LastTokens(n_positions=3)
    out = generate(model, [[1, 2, 3, 4, 5], [6, 1]], max_new_tokens=4)
    texts = [out[0].tolist(), out[1, 3:].tolist()]
    expected = [text[: len(text) - 4 + n][-3:] for n in range(4) for text in texts]
    assert model.seen == expected


@pytest.mark.parametrize("prompts", ["one", "unequal"])
def test_the_work_per_token_is_flat(toys, prompts):
    """Tokens embedded and keys looked at, counted: no clock, so nothing to be flaky about."""
    counts = {}
    for new_tokens in (200, 400, 800):
        model = toys.Attention(n_positions=16)
        generate(model, PROMPTS[prompts], max_new_tokens=new_tokens)
        counts[new_tokens] = np.array([model.tokens, model.columns, model.calls])
    first, second = counts[400] - counts[200], counts[800] - counts[400]
    assert (second <= 2.1 * first).all(), "twice the tokens, twice the work"
    rows = len(PROMPTS[prompts])
    embedded, looked_at, _ = second / (400 * rows)
    assert embedded <= 2, "one token a token, and about one more for the slides"
    assert looked_at <= 2 * 16, "no more keys than the context has"


def test_without_a_cache_the_work_is_not_flat(toys):
    """The counters above can tell: this is what they would show."""
    model = toys.Attention(n_positions=16)
    generate(model, PROMPTS["one"], max_new_tokens=400, use_cache=False)
    assert model.tokens / 400 > 10


def test_a_prompt_is_read_once_for_all_its_copies(toys):
    model = toys.Attention(n_positions=16)
    generate(model, [[1] * 10], max_new_tokens=2, do_sample=True, num_return_sequences=5)
    assert model.tokens == 10 + 5
    model.tokens = 0
    generate(model, [[1] * 10], max_new_tokens=2, num_beams=4)
    assert model.tokens == 10 + 4


def test_texts_that_ended_are_given_to_the_model_no_more(toys):
    # Token 1 is followed by 2, 2 by 3, ...; 5 ends.
    model = toys.TableModel(np.eye(6)[[1, 2, 3, 4, 5, 5]])
    given = []
    logits = model.next_token_logits
    model.next_token_logits = lambda ids, **masks: given.append(len(ids)) or logits(ids)
    out = generate(model, [[1], [3], [2]], max_new_tokens=9, eos_token_id=5, pad_token_id=0)
    assert out.tolist() == [[1, 2, 3, 4, 5], [3, 4, 5, 0, 0], [2, 3, 4, 5, 0]]
    assert given == [3, 3, 2, 1]


class _Module:
    def __init__(self, training, *children):
        self.training, self.children = training, children

    def modules(self):
        yield self
        for child in self.children:
            yield from child.modules()


def test_inference_switches_off_training_and_gradients_and_restores_both():
    frozen = _Module(False)
    model = _Module(True, frozen, _Module(True))
    inference = Inference(model)
    for _ in range(2):
        with inference:
            assert not any(module.training for module in model.modules())
            assert not is_grad_enabled()
        assert [module.training for module in model.modules()] == [True, False, True]
        assert is_grad_enabled()
    with pytest.raises(KeyboardInterrupt), inference:
        raise KeyboardInterrupt
    assert model.training
    assert is_grad_enabled()


def test_the_model_is_in_evaluation_mode_while_it_generates_and_only_then(toys):
    class Model(_Module, toys.TableModel):
        def next_token_logits(self, *args, **kwargs):
            assert not self.training
            assert not is_grad_enabled()
            return toys.TableModel.next_token_logits(self, *args, **kwargs)

    model = Model(True)
    toys.TableModel.__init__(model, np.eye(3))
    for options in ({}, {"do_sample": True}, {"num_beams": 2}):
        generate(model, [[1]], max_new_tokens=3, **options)
        assert model.training
        assert is_grad_enabled()


def test_the_reader_knows_what_is_padding():
    prompts = Prompts(np.array([[0, 0, 5], [1, 2, 3]]), np.array([1, 3]))
    reader = Reader(None, prompts, 1, 4)
    assert reader.padding.tolist() == [2, 0]
    reader.append(np.array([7, 8]))
    assert reader.padding.tolist() == [2, 0]
    assert reader.ids.tolist() == [[0, 0, 5, 7], [1, 2, 3, 8]]
    reader.select(np.array([1, 1]))
    assert reader.padding is None
