"""The n-gram model against hand-worked numbers, and against dictionaries that follow the formulas.

The reference below shares no code with the model: it counts with Counter and walks the recursion
of Chen and Goodman for one token at a time.
"""

import json
import math
import time
from collections import Counter

import numpy as np
import pytest

from tinygrad_llm.data import bits_per_character, load_text, split
from tinygrad_llm.errors import CheckpointError, ConfigError, DataError
from tinygrad_llm.models.ngram import SMOOTHINGS, NGram
from tinygrad_llm.models.ngram_counts import count
from tinygrad_llm.models.ngram_smoothing import N_BUCKETS, discounts, estimate_weights


def random_ids(n, vocab_size, seed):
    """Ids with a structure to learn: the next is mostly near the sum of the last two."""
    random = np.random.default_rng(seed)
    ids = list(random.integers(0, vocab_size, 2))
    for _ in range(n - 2):
        step = int(random.geometric(0.6)) - 1
        ids.append(int(ids[-1] + ids[-2] + step) % vocab_size)
    return np.array(ids[:n])


class Reference:
    """The formulas, one token at a time."""

    def __init__(self, ids, order, vocab_size, smoothing, k=0.1, weights=None):
        ids = [int(i) for i in ids]
        self.order, self.vocab_size, self.smoothing = order, vocab_size, smoothing
        self.k = 1 if smoothing == "laplace" else k
        self.weights = weights
        raw = [
            Counter(tuple(ids[i : i + n]) for i in range(len(ids) - n + 1))
            for n in range(order + 2)
        ]
        self.counts = raw
        if "kneser-ney" in smoothing:
            self.counts = [None] * (order + 1)
            self.counts[order] = raw[order]
            for n in range(1, order):  # the number of distinct grams one longer that end so
                self.counts[n] = Counter(gram[1:] for gram in raw[n + 1])
            self.discounts = [None] + [self.estimate(self.counts[n]) for n in range(1, order + 1)]

    def estimate(self, counts):
        n = Counter(counts.values())
        modified = self.smoothing == "modified-kneser-ney"
        if not (n[1] and n[2]):
            return [0, 0.5, 1, 1.5] if modified else [0, 0.5, 0.5, 0.5]
        d = n[1] / (n[1] + 2 * n[2])
        if not modified:
            return [0, d, d, d]
        found = [0]
        for i, fallback in ((1, 0.5), (2, 1), (3, 1.5)):
            value = i - (i + 1) * d * n[i + 1] / n[i] if n[i] and n[i + 1] else fallback
            found.append(value if 0 < value <= i else fallback)
        return found

    def probability(self, context, token):
        context = tuple(int(i) for i in context)[-self.order + 1 :] if self.order > 1 else ()
        if self.smoothing in ("laplace", "add-k"):
            counts = self.counts[len(context) + 1]
            total = sum(counts[(*context, w)] for w in range(self.vocab_size))
            return (counts[(*context, token)] + self.k) / (total + self.k * self.vocab_size)
        return self.recursive(context, token)

    def recursive(self, context, token):
        lower = self.recursive(context[1:], token) if context else 1 / self.vocab_size
        counts = self.counts[len(context) + 1]
        here = [counts[(*context, w)] for w in range(self.vocab_size)]
        total = sum(here)
        if total == 0:
            return lower
        if self.smoothing == "interpolation":
            bucket = min(int(math.log2(total)), N_BUCKETS - 1)
            weight = self.weights[len(context)][bucket]
            return weight * here[token] / total + (1 - weight) * lower
        d = self.discounts[len(context) + 1]
        cut = [min(d[min(c, 3)], c) for c in here]
        return (here[token] - cut[token] + sum(cut) * lower) / total


def test_laplace_by_hand():
    # a b a b a c: after a comes b twice and c once; V = 3.
    model = NGram(2, 3, "laplace").fit([0, 1, 0, 1, 0, 2])
    np.testing.assert_allclose(model.next_token_probabilities([0]), [1 / 6, 3 / 6, 2 / 6])
    np.testing.assert_allclose(model.next_token_probabilities([2]), [1 / 3] * 3)  # only ended it
    np.testing.assert_allclose(model.next_token_probabilities([]), [4 / 9, 3 / 9, 2 / 9])
    # p(a) p(b | a) p(a | b) = 4/9 * 3/6 * 3/5
    expected = [math.log(4 / 9), math.log(3 / 6), math.log(3 / 5)]
    np.testing.assert_allclose(model.log_prob([0, 1, 0]), expected)
    assert model.evaluate([0, 1, 0]) == pytest.approx(-sum(expected) / 3)


def test_kneser_ney_by_hand():
    # Bigrams of a b a b a c: ab 2, ba 2, ac 1, so n1 = 1, n2 = 2 and D = 1 / (1 + 4) = 0.2.
    # Each of a, b, c follows one distinct token: continuation counts 1, 1, 1. There n2 = 0, and
    # the discount falls back to 1/2: p1 = (1 - 0.5) / 3 + (3 * 0.5 / 3) / 3 = 1/3.
    model = NGram(2, 3, "kneser-ney").fit([0, 1, 0, 1, 0, 2])
    # After a (3 times; b 2, c 1): 0.4 / 3 is passed down, a third of it to each.
    expected = [0.4 / 9, 1.8 / 3 + 0.4 / 9, 0.8 / 3 + 0.4 / 9]
    np.testing.assert_allclose(model.next_token_probabilities([0]), expected)
    np.testing.assert_allclose(model.next_token_probabilities([2]), [1 / 3] * 3)


def test_discounts_by_hand():
    counts = np.repeat([1, 2, 3, 4, 7], [10, 5, 3, 2, 1])
    base = 10 / 20
    np.testing.assert_allclose(discounts(counts, False), [0, base, base, base])
    expected = [0, 1 - 2 * base * 5 / 10, 2 - 3 * base * 3 / 5, 3 - 4 * base * 2 / 3]
    np.testing.assert_allclose(discounts(counts, True), expected)


def test_discounts_of_odd_counts_fall_back():
    # Twos rarer than threes would make D_2 = 2 - 3 * 10/12 * 30/1 negative; no fours: no D_3.
    counts = np.repeat([1, 2, 3], [10, 1, 30])
    np.testing.assert_allclose(discounts(counts, True)[2:], [1, 1.5])
    np.testing.assert_allclose(discounts(np.array([2, 2, 3]), True), [0, 0.5, 1, 1.5])
    np.testing.assert_allclose(discounts(np.array([2, 2, 3]), False), [0, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_what_ended_the_text_was_never_followed(smoothing):
    ids = np.concatenate([random_ids(200, 4, seed=0), [4, 4, 5]])
    model = NGram(3, 6, smoothing).fit(ids)
    row = model.next_token_probabilities([4, 5])
    assert abs(row.sum() - 1) < 1e-14
    if smoothing in ("laplace", "add-k"):
        np.testing.assert_allclose(row, 1 / 6)
    else:  # the lower levels tell, down to the single tokens
        np.testing.assert_allclose(row, model.next_token_probabilities([]))


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_a_text_of_one_token_over_and_over(smoothing):
    model = NGram(3, 2, smoothing).fit([1] * 40)
    row = model.next_token_probabilities([1, 1])
    assert 0.85 < row[1] < 1
    assert abs(row.sum() - 1) < 1e-14
    assert NGram(2, 1, smoothing).fit([0, 0, 0]).evaluate([0, 0]) == pytest.approx(0)
    surprised = NGram(2, 3, smoothing).fit([0] * 40).log_prob([0, 2, 2, 0])
    assert (surprised[1:3] < -1).all()
    assert np.isfinite(surprised).all()


def test_weights_are_finite_where_a_held_out_context_only_ended_the_counted_text():
    levels = count(np.array([0, 1, 0, 1, 1, 0, 2]), 3, 4)
    weights = estimate_weights(levels, np.array([2, 0, 2, 1, 2, 3]))
    assert np.isfinite(weights).all()
    assert ((weights >= 0) & (weights < 1)).all()


def test_kneser_ney_knows_that_francisco_follows_san_alone():
    # Token 1 (Francisco) occurs 40 times, after 0 (San); tokens 2 .. 9 occur 8 times each, after
    # many others. After a new context the frequent one must not win.
    random = np.random.default_rng(0)
    words = [[0, 1]] * 40 + [[i] for i in range(2, 10)] * 8
    ids = np.concatenate([words[i] for i in random.permutation(len(words))])
    kneser_ney = NGram(2, 12, "kneser-ney").fit(ids).next_token_probabilities([11])
    counted = NGram(2, 12, "interpolation").fit(ids).next_token_probabilities([11])
    assert kneser_ney[1] < kneser_ney[2:10].min()
    assert counted[1] > counted[2:10].max()


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize(("order", "vocab_size", "n"), [(1, 5, 60), (2, 7, 90), (4, 3, 150)])
def test_equals_the_dictionaries(smoothing, order, vocab_size, n):
    ids = random_ids(n, vocab_size, seed=order)
    test = np.random.default_rng(5).integers(0, vocab_size, 40)  # with much that is unseen
    model = NGram(order, vocab_size, smoothing, k=0.3).fit(ids)
    slow = Reference(ids, order, vocab_size, smoothing, k=0.3, weights=model._weights)
    expected = [slow.probability(test[:i], test[i]) for i in range(len(test))]
    np.testing.assert_allclose(np.exp(model.log_prob(test)), expected, rtol=1e-12)
    for i in range(len(test)):
        row = model.next_token_probabilities(test[:i])
        np.testing.assert_allclose(
            row, [slow.probability(test[:i], w) for w in range(vocab_size)], rtol=1e-12
        )


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_sum_to_one(smoothing, order):
    vocab_size = 11
    model = NGram(order, vocab_size, smoothing).fit(random_ids(400, vocab_size - 2, seed=1))
    random = np.random.default_rng(2)
    for length in (0, 1, 2, 3, 7):
        for _ in range(20):
            row = model.next_token_probabilities(random.integers(0, vocab_size, length))
            assert row.shape == (vocab_size,)
            assert row.min() > 0
            assert abs(row.sum() - 1) < 1e-14


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_evaluation_in_pieces_and_with_a_context(smoothing, monkeypatch):
    ids = random_ids(700, 6, seed=3)
    model = NGram(4, 6, smoothing).fit(ids[:500])
    whole = model.log_prob(ids)
    monkeypatch.setattr("tinygrad_llm.models.ngram._PIECE", 13)
    np.testing.assert_array_equal(model.log_prob(ids), whole)
    np.testing.assert_array_equal(model.log_prob(ids[500:], context=ids[:500]), whole[500:])
    np.testing.assert_array_equal(model.log_prob(ids[2:9], context=ids[1:2])[2:], whole[4:9])
    assert model.log_prob([]).shape == (0,)


def test_interpolation_weights_are_a_maximum():
    # On the held-out tenth no nearby weight of the highest level does better.
    ids = random_ids(3000, 5, seed=4)
    model = NGram(2, 5, "interpolation").fit(ids)
    counted, heldout = ids[:2700], ids[2700:]

    def heldout_loss(weights):
        slow = Reference(counted, 2, 5, "interpolation", weights=weights)
        return -sum(
            math.log(slow.probability(heldout[max(i - 1, 0) : i], heldout[i]))
            for i in range(1, len(heldout))
        )

    best = heldout_loss(model._weights)
    for change in (-0.02, 0.02):
        weights = model._weights.copy()
        weights[1] = np.clip(weights[1] + change, 0.001, 0.999)
        assert heldout_loss(weights) > best - 1e-3


def test_better_smoothing_predicts_better():
    """On real text: the ladder that the literature promises, in bits per character."""
    text = load_text("default")
    numbers = {character: i for i, character in enumerate(sorted(set(text)))}
    train, validation = split(np.array([numbers[character] for character in text]))
    bits = {}
    for smoothing in SMOOTHINGS:
        model = NGram(5, len(numbers), smoothing).fit(train)
        loss = model.evaluate(validation, context=train)
        bits[smoothing] = bits_per_character(loss, len(validation), len(validation))
    assert sorted(bits, key=bits.get, reverse=True) == list(SMOOTHINGS)
    # Python's versions differ in the text, hence the width of the band.
    assert 1.6 < bits["modified-kneser-ney"] < 2.1


@pytest.mark.slow
def test_tiny_shakespeare_takes_seconds(data_folder):
    text = (data_folder / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    numbers = {character: i for i, character in enumerate(sorted(set(text)))}
    train, validation = split(np.array([numbers[character] for character in text]))
    start = time.perf_counter()
    model = NGram(6, len(numbers)).fit(train)
    loss = model.evaluate(validation, context=train)
    assert time.perf_counter() - start < 10  # about 1.1 s when nothing else runs
    assert loss == pytest.approx(1.5226, abs=1e-3)


@pytest.fixture
def data_folder():
    import os
    from pathlib import Path

    folder = os.environ.get("TINYGRAD_LLM_DATA")
    if not folder or not (Path(folder) / "tinyshakespeare" / "input.txt").is_file():
        pytest.skip("TINYGRAD_LLM_DATA has no tinyshakespeare")
    return Path(folder)


def test_a_large_vocabulary_does_not_overflow():
    # 50257 ** 7 is far beyond 64 bits.
    ids = np.random.default_rng(6).integers(0, 50257, 300)
    ids[100:120] = ids[:20]
    model = NGram(7, 50257, "kneser-ney").fit(ids)
    assert model.next_token_probabilities(ids[:19]).argmax() == ids[19]
    assert abs(model.next_token_probabilities(ids[50:57]).sum() - 1) < 1e-12


def test_generate_follows_the_distribution():
    model = NGram(2, 4, "add-k", k=0.5).fit(random_ids(200, 4, seed=7))
    ids = model.generate([1], 20_000, seed=8)
    assert ids.shape == (20_001,)
    after = ids[1:][ids[:-1] == 2]
    expected = model.next_token_probabilities([2])
    found = np.bincount(after, minlength=4) / len(after)
    # Four standard deviations of a frequency.
    assert (abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / len(after))).all()


def test_generate_is_repeatable_and_temperature_sharpens():
    model = NGram(3, 6).fit(random_ids(300, 6, seed=9))
    once = model.generate([0, 1], 50, seed=1)
    np.testing.assert_array_equal(once, model.generate([0, 1], 50, seed=1))
    assert (once != model.generate([0, 1], 50, seed=2)).any()
    greedy = model.generate([0, 1], 50, temperature=0)
    np.testing.assert_array_equal(greedy, model.generate([0, 1], 50, temperature=1e-4, seed=3))
    for i in range(2, 52):
        assert greedy[i] == model.next_token_probabilities(greedy[:i]).argmax()
    assert len(model.generate([], 3)) == 3
    np.testing.assert_array_equal(model.generate([5], 0), [5])
    with pytest.raises(ValueError, match="temperature=-1"):
        model.generate([0], 1, temperature=-1)


def test_logits_are_the_log_probabilities_of_each_row():
    model = NGram(3, 6).fit(random_ids(300, 6, seed=10))
    rows = np.array([[0, 1, 2, 3], [5, 5, 4, 0], [1, 1, 0, 5]])
    logits = model.next_token_logits(rows)
    assert logits.shape == (3, 6)
    for row, given in zip(rows, logits, strict=True):
        np.testing.assert_allclose(np.exp(given), model.next_token_probabilities(row))
    assert model.next_token_logits(np.zeros((0, 4), int)).shape == (0, 6)
    assert model.next_token_logits(np.zeros((2, 0), int)).shape == (2, 6)
    with pytest.raises(ValueError, match=r"shape \(B, T\), not \(4,\)"):
        model.next_token_logits(rows[0])


def test_padding_on_the_left_is_no_context():
    model = NGram(4, 6).fit(random_ids(300, 6, seed=10))
    rows = np.array([[0, 1, 2, 3], [0, 0, 0, 4], [0, 0, 0, 0]])
    mask = np.array([[1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]])
    logits = model.next_token_logits(rows, mask)
    for given, seen in zip(logits, ([0, 1, 2, 3], [0, 4], []), strict=True):
        np.testing.assert_allclose(np.exp(given), model.next_token_probabilities(seen))


def test_the_generation_room_continues_it():
    from tinygrad_llm.generation import generate

    model = NGram(3, 6).fit(random_ids(300, 6, seed=10))
    expected = model.generate([0, 1], 12, temperature=0)
    np.testing.assert_array_equal(
        generate(model, np.array([[0, 1]]), max_new_tokens=12, do_sample=False), [expected]
    )
    # Prompts of unequal lengths, padded on the left, do not disturb each other.
    both = generate(model, [[3], [4, 0, 1]], max_new_tokens=5, do_sample=False)
    for row, prompt in zip(both, ([3], [4, 0, 1]), strict=True):
        np.testing.assert_array_equal(row[3:], model.generate(prompt, 5, temperature=0)[-5:])
    # A beam of everything finds the most probable continuation; here, all of length 2.
    best = generate(model, np.array([[2, 5]]), max_new_tokens=2, num_beams=6, do_sample=False)[0]
    pairs = [(a, b) for a in range(6) for b in range(6)]
    likeliest = max(pairs, key=lambda pair: model.log_prob(pair, context=[2, 5]).sum())
    assert tuple(best[2:]) == likeliest


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_saved_and_loaded_is_the_same(tmp_path, smoothing):
    ids = random_ids(500, 9, seed=11)
    model = NGram(3, 9, smoothing, k=0.7).fit(ids)
    model.save(tmp_path / "model")
    again = NGram.load(tmp_path / "model")
    assert again.config == model.config
    assert again.num_parameters() == model.num_parameters() > 9
    test = np.random.default_rng(12).integers(0, 9, 100)
    np.testing.assert_array_equal(again.log_prob(test), model.log_prob(test))
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


def test_damaged_checkpoints_are_refused(tmp_path):
    NGram(3, 9).fit(random_ids(500, 9, seed=13)).save(tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    content, settings = weights.read_bytes(), json.loads(config.read_text())

    weights.write_bytes(content[:-9])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        NGram.load(tmp_path)
    altered = bytearray(content)
    altered[-4] ^= 1
    weights.write_bytes(altered)
    with pytest.raises(CheckpointError, match="interpolation_weights. was altered"):
        NGram.load(tmp_path)
    weights.write_bytes(content)

    config.write_text(json.dumps(settings | {"smoothing": "laplace"}))
    with pytest.raises(CheckpointError, match="not of the same save"):
        NGram.load(tmp_path)
    config.write_text(json.dumps(settings | {"order": 0}))
    with pytest.raises(CheckpointError, match="order=0"):
        NGram.load(tmp_path)
    config.write_text("{}")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        NGram.load(tmp_path)
    config.unlink()
    with pytest.raises(CheckpointError, match=r"config\.json"):
        NGram.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("2-grams.keys", lambda keys: keys[::-1]),
        ("2-grams.keys", lambda keys: keys[:-1]),
        ("2-grams.keys", lambda keys: keys + 10**6),
        ("2-grams.keys", lambda keys: keys.astype(np.float64)),
        ("2-grams.counts", lambda counts: counts * 0),
        ("2-grams.counts", lambda counts: None),
        ("2-grams.keys", lambda keys: keys[:1]),
        ("interpolation_weights", lambda weights: weights[1:]),
    ],
)
def test_sound_files_with_senseless_tables_are_refused(tmp_path, name, change):
    from tinygrad_llm.pretrained.safetensors import load_file, read_header, save_file

    NGram(3, 9).fit(random_ids(500, 9, seed=14)).save(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors, config = load_file(path), read_header(path).metadata["config"]
    tensors[name] = change(tensors[name])
    save_file({key: t for key, t in tensors.items() if t is not None}, path, {"config": config})
    with pytest.raises(CheckpointError, match=name.split(".")[0]):
        NGram.load(tmp_path)


def test_errors_name_what_was_given():
    for arguments, message in [
        ((0, 5), "order=0"),
        ((2, 0), "vocab_size=0"),
        (("2", 5), "order='2'"),
        ((2, 5, "good-turing"), "smoothing='good-turing' is not accepted; use laplace"),
        ((2, 5, "add-k", 0.0), "k=0.0"),
        ((2, 5, "add-k", math.nan), "k=nan"),
    ]:
        with pytest.raises(ConfigError, match=message):
            NGram(*arguments)
    model = NGram(3, 5)
    with pytest.raises(DataError, match="the text has 2 tokens, too few for n-grams of order 3"):
        model.fit([0, 1])
    with pytest.raises(DataError, match="token id 5 at position 2 is outside"):
        model.fit([0, 1, 5, 2])
    with pytest.raises(TypeError, match="must be integers, not float64"):
        model.fit([0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match=r"shape \(N,\), not \(2, 2\)"):
        model.fit([[0, 1], [2, 3]])
    with pytest.raises(RuntimeError, match="has counted nothing yet"):
        model.next_token_probabilities([0])
    with pytest.raises(RuntimeError, match="has counted nothing yet"):
        model.save("nowhere")
    model.fit([0, 1, 2])
    with pytest.raises(DataError, match="no tokens to evaluate"):
        model.evaluate([])
    with pytest.raises(DataError, match="token id -1 at position 1"):
        model.log_prob([0, -1])
