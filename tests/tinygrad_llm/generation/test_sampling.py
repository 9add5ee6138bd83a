"""The processors and the draw: by hand, by property, and by the statistics of many draws."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_llm.generation import GenerationConfig, sampling

LOG = np.log(np.array([[0.3, 0.1, 0.1, 0.5], [0.15, 0.3, 0.3, 0.25]], np.float32))


def kept(scores):
    return [np.flatnonzero(row > -np.inf).tolist() for row in scores]


def test_temperature_divides():
    np.testing.assert_array_equal(sampling.temperature(np.array([[2.0, -3.0]]), 0.5), [[4.0, -6.0]])


def test_repetition_makes_a_token_less_likely_whatever_its_sign():
    scores = np.array([[2.0, -2.0, 3.0, -3.0, 0.0]], np.float32)
    out = sampling.repetition_penalty(scores, np.array([[0, 1, 0, 0]]), 2.0)
    assert out.tolist() == [[1.0, -4.0, 3.0, -3.0, 0.0]]
    out = sampling.repetition_penalty(scores, np.array([[3, 2]]), 0.5)
    assert out.tolist() == [[2.0, -2.0, 6.0, -1.5, 0.0]]


def test_repetition_does_not_count_padding():
    scores = np.array([[2.0, 4.0, 6.0], [2.0, 4.0, 6.0]])
    ids = np.array([[0, 0, 1], [0, 2, 2]])
    out = sampling.repetition_penalty(scores, ids, 2.0, padding=np.array([2, 0]))
    assert out.tolist() == [[2.0, 2.0, 6.0], [1.0, 4.0, 3.0]]
    # The padding id is also a real token of the row: it is penalised for that.
    out = sampling.repetition_penalty(scores[:1], np.array([[0, 0, 1, 0]]), 2.0, np.array([2]))
    assert out.tolist() == [[1.0, 2.0, 6.0]]


def test_top_k_keeps_the_k_likeliest_and_what_ties_with_the_last():
    scores = np.array([[1.0, 5.0, 3.0, 3.0, 2.0], [9.0, 8.0, 7.0, 6.0, 5.0]])
    assert kept(sampling.top_k(scores, 1)) == [[1], [0]]
    assert kept(sampling.top_k(scores, 2)) == [[1, 2, 3], [0, 1]]
    assert kept(sampling.top_k(scores, 3)) == [[1, 2, 3], [0, 1, 2]]
    assert kept(sampling.top_k(scores, 1, min_tokens_to_keep=4)) == [[1, 2, 3, 4], [0, 1, 2, 3]]
    np.testing.assert_array_equal(sampling.top_k(scores, 9), scores)


def test_top_p_keeps_the_fewest_that_reach_p():
    # 0.5 + 0.3 reaches 0.8 exactly: in sums of rounded numbers, too, that is enough.
    assert kept(sampling.top_p(LOG, 0.8)) == [[0, 3], [1, 2, 3]]
    assert kept(sampling.top_p(LOG, 0.5)) == [[3], [1, 2]]
    assert kept(sampling.top_p(LOG, 0.0)) == [[3], [2]]
    assert kept(sampling.top_p(LOG, 0.0, min_tokens_to_keep=2)) == [[0, 3], [1, 2]]
    np.testing.assert_array_equal(sampling.top_p(LOG, 1.0), LOG)
    equal = np.zeros((1, 4), np.float32)  # of which the last are kept
    assert kept(sampling.top_p(equal, 0.5)) == [[2, 3]]
    assert kept(sampling.top_p(equal, 0.51)) == [[1, 2, 3]]


def whole_sort(scores, p):
    """top_p by its definition: everything is sorted."""
    order = np.argsort(scores, kind="stable")
    below = np.cumsum(sampling.softmax(scores[None])[0, order], dtype=np.float64)
    keep = below.astype(scores.dtype) > scores.dtype.type(1 - p)
    keep[-1] = True
    return sorted(order[keep].tolist())


def test_top_p_is_what_sorting_everything_gives():
    """Nuclei of a few and of thousands, in flat and steep distributions, with ties, far below."""
    random = np.random.default_rng(3)
    for scale in (1e-3, 0.1, 1, 4, 30):
        scores = (random.normal(size=(2, 5000)) * scale).astype("f4")
        scores[1] = np.round(scores[1], 1)
        scores[1, ::3] = -np.inf
        for p in (0.001, 0.3, 0.9, 0.99, 0.999999):
            assert kept(sampling.top_p(scores, p)) == [whole_sort(row, p) for row in scores]


def test_min_p_keeps_what_is_not_much_less_likely_than_the_likeliest():
    assert kept(sampling.min_p(LOG, 0.55)) == [[0, 3], [1, 2, 3]]
    assert kept(sampling.min_p(LOG, 0.19)) == [[0, 1, 2, 3], [0, 1, 2, 3]]
    assert kept(sampling.min_p(LOG, 1.0)) == [[3], [1, 2]]
    assert kept(sampling.min_p(LOG, 1.0, min_tokens_to_keep=3)) == [[0, 1, 3], [1, 2, 3]]


def process(scores, **options):
    config = GenerationConfig(do_sample=True, **options)
    return sampling.process(scores, np.array([[0]] * len(scores)), config)


def test_the_temperature_comes_before_the_cuts():
    # At temperature 1 the likeliest token has 0.72, at 2 it has 0.49 and needs the next.
    scores = np.log(np.array([[0.72, 0.14, 0.14]], np.float32)) * np.float32(1)
    assert kept(process(scores, top_p=0.7)) == [[0]]
    assert len(kept(process(scores, top_p=0.7, temperature=2.0))[0]) == 2
    assert kept(process(scores, min_p=0.3)) == [[0]]
    assert kept(process(scores, min_p=0.3, temperature=2.0)) == [[0, 1, 2]]


def test_the_penalty_comes_before_all():
    scores = np.array([[4.0, 3.9, 1.0]], np.float32)
    assert kept(process(scores, top_k=1)) == [[0]]
    assert kept(process(scores, top_k=1, repetition_penalty=1.5)) == [[1]]
    assert kept(process(scores, top_p=0.5, repetition_penalty=1.5)) == [[1]]


def test_top_k_comes_before_top_p():
    # Of four equal tokens 0.6 needs three; of the two that top_k leaves it needs both, though
    # they have but 0.5 of the whole.
    scores = np.log(np.array([[0.3, 0.28, 0.22, 0.2]], np.float32))
    assert kept(process(scores, top_k=2, top_p=0.55)) == [[0, 1]]
    assert kept(process(scores, top_k=2, top_p=0.5)) == [[0]]


def test_top_p_comes_before_min_p_and_neither_renormalises_the_other():
    scores = np.log(np.array([[0.5, 0.3, 0.15, 0.05]], np.float32))
    assert kept(process(scores, top_p=0.9, min_p=0.5)) == [[0, 1]]
    assert kept(process(scores, top_p=0.4, min_p=0.1)) == [[0]]


def test_nothing_is_processed_that_was_not_asked_for():
    assert process(LOG) is LOG
    greedy = SimpleNamespace(repetition_penalty=1, do_sample=False, temperature=3, top_k=1)
    assert sampling.process(LOG, np.array([[0], [0]]), greedy) is LOG


def test_softmax_does_not_overflow():
    scores = np.array([[1000.0, 1000.0, -1000.0]], np.float32)
    assert sampling.softmax(scores).tolist() == [[0.5, 0.5, 0.0]]
    assert sampling.log_softmax(scores)[0, 0] == -np.log(np.float32(2))


# -- properties --

logits = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 40)),
    elements=st.one_of(
        st.floats(-30, 30, width=32), st.sampled_from([0.0, 1.0, -np.inf]).map(np.float32)
    ),
).filter(lambda x: np.isfinite(x.max(axis=1)).all())
shares = st.floats(0, 1)


def _softmax64(scores):
    e = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _cut(before, after):
    """What every cut has to obey. Returns what was kept, as bools."""
    assert after.shape == before.shape
    assert after.dtype == before.dtype
    keep = after > -np.inf
    np.testing.assert_array_equal(after[keep], before[keep])
    for row, k in zip(before, keep, strict=True):
        assert k.any()
        if not k.all():
            assert row[k].min() >= row[~k].max(), "a likelier token was dropped"
    return keep


@given(logits, st.integers(1, 200), st.integers(1, 4))
def test_property_top_k(scores, k, least):
    before = scores.copy()
    keep = _cut(scores, sampling.top_k(scores, k, least))
    np.testing.assert_array_equal(scores, before)
    for row, kept_row in zip(scores, keep, strict=True):
        wanted = min(max(k, least), len(row))
        kth = np.sort(row)[-wanted]
        np.testing.assert_array_equal(kept_row, (row >= kth) & (row > -np.inf))


@given(logits, shares, st.integers(1, 4))
def test_property_top_p(scores, p, least):
    before = scores.copy()
    keep = _cut(scores, sampling.top_p(scores, p, least))
    np.testing.assert_array_equal(scores, before)
    for row, kept_row in zip(_softmax64(scores), keep, strict=True):
        mass = row[kept_row].sum()
        slack = 1e-5  # float32 probabilities are rounded before they are compared
        assert mass >= p - slack
        if kept_row.sum() > least:
            assert mass - row[kept_row].min() < p + slack, "one fewer would have done"


@given(logits, shares, st.integers(1, 4))
def test_property_min_p(scores, p, least):
    before = scores.copy()
    keep = _cut(scores, sampling.min_p(scores, p, least))
    np.testing.assert_array_equal(scores, before)
    for row, kept_row in zip(_softmax64(scores), keep, strict=True):
        assert kept_row[(row >= p * row.max() * (1 + 1e-5)) & (row > 0)].all()
        if least == 1:
            assert not kept_row[row < p * row.max() * (1 - 1e-5)].any()


@given(logits, st.floats(0.1, 5), st.integers(0, 2**32 - 1))
def test_property_repetition_penalty(scores, penalty, seed):
    before = scores.copy()
    random = np.random.default_rng(seed)
    ids = random.integers(scores.shape[1], size=(len(scores), 7))
    out = sampling.repetition_penalty(scores, ids, penalty)
    np.testing.assert_array_equal(scores, before)
    for row, new, seen in zip(scores, out, ids, strict=True):
        others = np.setdiff1d(np.arange(len(row)), seen)
        np.testing.assert_array_equal(new[others], row[others])
        assert (new[seen] <= row[seen]).all() if penalty >= 1 else (new[seen] >= row[seen]).all()


@given(logits)
def test_property_softmax(scores):
    np.testing.assert_allclose(sampling.softmax(scores), _softmax64(scores), rtol=1e-4, atol=1e-30)
    with np.errstate(divide="ignore"):
        expected = np.log(_softmax64(scores))
    np.testing.assert_allclose(sampling.log_softmax(scores), expected, rtol=1e-5, atol=1e-5)


@given(logits, st.integers(1, 200))
def test_property_best(scores, count):
    expected = sorted(range(scores.shape[1]), key=lambda i: (-scores[0, i], i))[:count]
    assert sampling.best(scores[0], count).tolist() == expected


# -- drawing --


class Fixed:
    """A generator whose next numbers are known."""

    def __init__(self, *numbers):
        self.numbers = iter(numbers)

    def random(self):
        return next(self.numbers)


ALMOST_ONE = np.nextafter(1, 0)


@pytest.mark.parametrize(
    ("uniform", "token"),
    [(0.0, 1), (0.2, 1), (0.24999, 1), (0.25, 3), (0.5, 3), (0.9, 3), (ALMOST_ONE, 3)],
)
def test_the_draw_inverts_the_ladder_and_never_takes_what_is_impossible(uniform, token):
    probabilities = np.array([[0, 0.25, 0, 0.75, 0]])
    assert sampling.sample(probabilities, [Fixed(uniform)]).tolist() == [token]


@given(hnp.arrays(np.float32, (3, 20), elements=st.floats(0, 1, width=32)), st.floats(0, 1))
def test_property_what_is_drawn_is_possible(weights, uniform):
    weights[:, 7] += np.float32(0.125)  # not all 0
    uniform = min(uniform, ALMOST_ONE)
    tokens = sampling.sample(weights, [Fixed(uniform) for _ in range(3)])
    assert (weights[np.arange(3), tokens] > 0).all()


def test_each_row_draws_from_its_own_generator():
    probabilities = np.full((3, 1000), 1e-3)
    generators = [np.random.default_rng(seed) for seed in (1, 2, 1)]
    first, second, third = sampling.sample(probabilities, generators)
    assert first == third != second


def test_one_generator_serves_all_rows():
    probabilities = np.full((50, 1000), 1e-3)
    tokens = sampling.sample(probabilities, np.random.default_rng(0))
    assert len(set(tokens.tolist())) > 40


@pytest.mark.parametrize("row", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_what_is_no_distribution_is_refused(row):
    with pytest.raises(ValueError, match="finite, at least 0, and not all 0"):
        sampling.sample(np.array([[0.5, 0.5], row]), np.random.default_rng(0))


def chi_square_z(counts, probabilities):
    """How many standard deviations the chi-square statistic lies above what chance gives.

    Wilson & Hilferty (1931): the cube root of chi2 / df is nearly normal.
    """
    expected = probabilities * counts.sum()
    assert expected.min() >= 5
    df = len(counts) - 1
    chi2 = ((counts - expected) ** 2 / expected).sum()
    return ((chi2 / df) ** (1 / 3) - (1 - 2 / (9 * df))) / np.sqrt(2 / (9 * df))


DRAWS = 40_000
WEIGHTS = np.array([0.001, 0.3, 0.0, 0.05, 0.149, 0.5])


def draw(sample=None):
    sample = sample or sampling.sample
    tokens = np.concatenate(
        [
            sample(np.tile(WEIGHTS, (400, 1)), np.random.default_rng(seed))
            for seed in range(DRAWS // 400)
        ]
    )
    return np.bincount(tokens, minlength=len(WEIGHTS))


def test_draws_have_the_frequencies_they_should():
    """Bounded false alarm: under the right distribution z > 5 has probability 3e-7, once, as the
    seeds are fixed."""
    counts = draw()
    assert counts[2] == 0
    possible = WEIGHTS > 0
    assert abs(chi_square_z(counts[possible], WEIGHTS[possible])) < 5


def test_this_statistic_tells_a_small_difference():
    counts = draw()
    wrong = WEIGHTS + np.array([0, 0.015, 0, 0, 0, -0.015])
    possible = WEIGHTS > 0
    assert chi_square_z(counts[possible], wrong[possible]) > 5
