"""Beam search against all texts there are, and what it must not do."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from tinygrad_llm.generation import beam, generate, sampling

END = 2


def _every_text(model, prompt, new_tokens, length_penalty):
    """(score, text) of every complete text, best first."""
    found = []
    for tokens in itertools.product(range(3), repeat=new_tokens):
        ends = tokens.index(END) + 1 if END in tokens else new_tokens
        text, score = list(prompt), 0.0
        for token in tokens[:ends]:
            window = np.array([text[-3:]])
            score += sampling.log_softmax(model.next_token_logits(window))[0, token]
            text.append(token)
        found.append((score / ends**length_penalty, tuple(text)))
    return sorted(set(found), reverse=True)


@pytest.mark.parametrize("length_penalty", [-1.5, 0.0, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(4))
def test_enough_beams_find_the_best_texts_of_all(toys, length_penalty, seed):
    model = toys.LastTokens(vocab_size=3, n_positions=3, seed=seed)
    expected = _every_text(model, [1, 0], 4, length_penalty)[:6]
    # At most 8 texts run and 24 can follow: with 27 beams nothing is ever dropped.
    out = generate(
        model, [1, 0], num_beams=27, num_return_sequences=6, max_new_tokens=4, eos_token_id=END,
        length_penalty=length_penalty, early_stopping="never",
    )  # fmt: skip
    for row, (_, text) in zip(out, expected, strict=True):
        assert row.tolist() == list(text) + [END] * (len(row) - len(text))


def test_it_finds_what_greedy_search_misses(toys):
    # 0 -> 1 looks better (0.6), but all that can follow is bad; 0 -> 2 -> 3 is nearly certain.
    p = np.full((5, 5), 0.01)
    p[0] = [0.01, 0.6, 0.37, 0.01, 0.01]
    p[1] = [0.2, 0.2, 0.2, 0.2, 0.2]
    p[2] = [0.01, 0.01, 0.01, 0.96, 0.01]
    model = toys.TableModel(np.log(p))
    assert generate(model, [0], max_new_tokens=2).tolist() == [[0, 1, 0]]
    assert generate(model, [0], max_new_tokens=2, num_beams=2).tolist() == [[0, 2, 3]]


def test_the_length_penalty_chooses_between_short_and_long(toys):
    # From 0: end (3) at once with 0.3, or go on with 1 and 2, a little less likely in all.
    p = np.full((4, 4), 1e-6)
    p[0, [1, 3]] = [0.7, 0.3]
    p[1, [2, 0]] = [0.5, 0.4]
    p[2, [3, 0]] = [0.6, 0.4]
    model = toys.TableModel(np.log(p))

    def best(length_penalty):
        out = generate(
            model, [0], max_new_tokens=3, num_beams=3, eos_token_id=3,
            length_penalty=length_penalty, early_stopping="never",
        )  # fmt: skip
        return out[0].tolist()

    assert best(0.0) == [0, 3]  # log 0.3 = -1.20 > log 0.21 = -1.56
    assert best(1.0) == [0, 1, 2, 3]  # -1.20 < -1.56 / 3


def test_early_stopping_takes_the_first_texts_that_are_complete(toys):
    calls = []

    def steps(early_stopping):
        model = toys.TableModel(np.log(np.array([[0.6, 0.3, 0.1]] * 3)))
        logits = model.next_token_logits
        model.next_token_logits = lambda *a, **k: calls.append(1) or logits(*a, **k)
        calls.clear()
        generate(
            model, [0], max_new_tokens=30, num_beams=2, eos_token_id=1, length_penalty=2.0,
            early_stopping=early_stopping,
        )  # fmt: skip
        return len(calls)

    assert steps(True) < steps(False) <= steps("never")


def test_vocabulary_smaller_than_the_beams(toys):
    model = toys.TableModel(np.log([[0.7, 0.3], [0.4, 0.6]]))
    out = generate(model, [0], max_new_tokens=3, num_beams=8, num_return_sequences=8)
    assert len({tuple(row) for row in out.tolist()}) == 8, "all texts there are"
    assert out[0].tolist() == [0, 0, 0, 0]


def test_a_vocabulary_without_room_for_the_ends_is_refused(toys):
    model = toys.TableModel(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="num_beams=2 with 3 eos tokens needs .* at least 4"):
        generate(model, [0], num_beams=2, eos_token_id=[0, 1, 2])


def test_a_search_that_is_done_does_not_change_with_the_others(toys):
    """One prompt ends at once; the other runs on, and must not disturb it."""
    p = np.full((5, 5), 0.02)
    p[0, 4] = 0.92
    p[1, 2], p[2, 1] = 0.92, 0.92
    model = toys.TableModel(np.log(p))
    options = {"num_beams": 2, "num_return_sequences": 2, "max_new_tokens": 12, "eos_token_id": 4}
    options["early_stopping"] = True
    together = generate(model, [[0], [1]], **options)
    for i, prompt in enumerate([[0], [1]]):
        alone = generate(model, prompt, **options)
        rows = together[2 * i : 2 * i + 2]
        np.testing.assert_array_equal(rows[:, : alone.shape[1]], alone)
        assert (rows[:, alone.shape[1] :] == 4).all()


def test_drawn_candidates_are_a_sample_without_replacement():
    p = np.array([0.6, 0.2, 0.1, 0.06, 0.04])
    config = SimpleNamespace(num_beams=2)
    search = beam.Beams(config, 5, 4, lambda text: False, np.random.default_rng(0))
    draws = np.array([search._candidates(np.log(p)) for _ in range(20_000)])
    assert draws.shape == (20_000, 4)
    assert all(len(set(row)) == 4 for row in draws[:100].tolist())
    for a, b in itertools.permutations(range(5), 2):
        expected = 20_000 * p[a] * p[b] / (1 - p[a])
        found = ((draws[:, 0] == a) & (draws[:, 1] == b)).sum()
        assert abs(found - expected) < 5 * np.sqrt(expected) + 1, (a, b)


def test_drawn_beams_come_from_these(toys):
    """With one new token, the two beams are the first two that were drawn, the likelier first."""
    p = np.array([0.5, 0.3, 0.15, 0.05])
    model = toys.TableModel(np.log(np.tile(p, (4, 1))))
    firsts = []
    for seed in range(400):
        out = generate(
            model, [0], max_new_tokens=1, num_beams=2, num_return_sequences=2, do_sample=True,
            seed=seed,
        )  # fmt: skip
        assert out[0, 1] < out[1, 1], "the likelier first"
        firsts.append(int(out[0, 1]))
    expected = 400 * (0.5 + sum(p[b] * 0.5 / (1 - p[b]) for b in (1, 2, 3)))
    assert abs(firsts.count(0) - expected) < 5 * np.sqrt(expected * (1 - expected / 400))
    assert set(firsts) == {0, 1, 2}


def test_what_ends_beyond_the_best_beams_is_not_kept():
    """The third best ends. With two beams it is a spare candidate, not one of the two found."""
    config = SimpleNamespace(num_beams=2, length_penalty=1.0, early_stopping=False)
    for p, found in [([0.4, 0.35, 0.25], 0), ([0.4, 0.25, 0.35], 1)]:
        search = beam.Beams(config, 5, 4, lambda text: text[-1] == END)
        parents, tokens = search.advance(np.log([p, p]), np.zeros((2, 0), int))
        assert len(search.complete) == found
        assert parents.tolist() == [0, 0]
        assert tokens.tolist() == [0, 1]


def test_the_arrays_it_is_given_are_left_alone():
    log_probs = np.log(np.full((2, 3), 1 / 3))
    texts = np.array([[0], [1]])
    config = SimpleNamespace(num_beams=2, length_penalty=1.0, early_stopping=False)
    search = beam.Beams(config, 5, 4, lambda text: False)
    before = log_probs.copy(), texts.copy()
    search.advance(log_probs, texts)
    np.testing.assert_array_equal(log_probs, before[0])
    np.testing.assert_array_equal(texts, before[1])
