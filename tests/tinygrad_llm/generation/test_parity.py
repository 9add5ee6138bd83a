"""Against Hugging Face: the processors on random and tied scores, greedy and beam search on a
GPT-2 of random weights. The model is theirs on both sides, so that only generation is compared.
"""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from tinygrad_llm.generation import GenerationConfig, generate, sampling

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCAB = 23


def _scores(kind, seed):
    random = np.random.default_rng(seed)
    shape = (5, 301)
    if kind == "normal":
        return (random.normal(size=shape) * random.choice([0.1, 1, 5])).astype("f4")
    if kind == "ties":
        return random.integers(-3, 4, size=shape).astype("f4")
    scores = (random.normal(size=shape) * 3).astype("f4")
    scores[random.random(shape) < 0.5] = -np.inf
    return scores


def _theirs(processor, scores, ids=None):
    ids = np.zeros((len(scores), 1), np.int64) if ids is None else ids
    return processor(torch.tensor(ids), torch.tensor(scores)).numpy()


@pytest.mark.parametrize("kind", ["normal", "ties", "cut"])
@pytest.mark.parametrize("least", [1, 3])
def test_cuts(kind, least):
    for seed, value in itertools.product(range(8), [0.0, 0.02, 0.3, 0.7, 0.9, 0.95, 0.999]):
        scores = _scores(kind, seed)
        warper = transformers.TopPLogitsWarper(value, min_tokens_to_keep=least)
        ours, theirs = sampling.top_p(scores, value, least), _theirs(warper, scores)
        if kind == "ties":  # which of equal tokens: their sort leaves it to chance
            ours, theirs = np.sort(ours), np.sort(theirs)
        np.testing.assert_array_equal(ours, theirs, f"top_p={value}, {seed}")
        warper = transformers.MinPLogitsWarper(value, min_tokens_to_keep=least)
        ours = sampling.min_p(scores, value, least)
        if least == 1 or kind == "normal":  # else they keep any of those that tie
            np.testing.assert_array_equal(ours, _theirs(warper, scores), f"min_p={value}, {seed}")
        k = max(1, int(value * 400))
        warper = transformers.TopKLogitsWarper(k, min_tokens_to_keep=least)
        ours = sampling.top_k(scores, k, least)
        np.testing.assert_array_equal(ours, _theirs(warper, scores), f"top_k={k}, {seed}")


@pytest.mark.parametrize("value", [0.3, 0.7, 1.0, 1.9])
def test_temperature_and_penalty(value):
    for seed in range(5):
        scores = _scores("normal", seed)
        ids = np.random.default_rng(seed).integers(301, size=(5, 40))
        warper = transformers.TemperatureLogitsWarper(value)
        np.testing.assert_array_equal(
            sampling.temperature(scores, value), _theirs(warper, scores, ids)
        )
        padding = np.array([0, 3, 39, 12, 0])
        for given in (None, padding):
            processor = transformers.RepetitionPenaltyLogitsProcessor(
                value, None if given is None else torch.tensor(given)
            )
            np.testing.assert_array_equal(
                sampling.repetition_penalty(scores, ids, value, given),
                _theirs(processor, scores, ids),
            )


def test_all_processors_in_their_order(gpt2):
    random = np.random.default_rng(2)
    for seed in range(60):
        options = {"repetition_penalty": random.uniform(0.7, 1.6), "do_sample": True}
        for name, low, high in [("temperature", 0.3, 2), ("top_p", 0.2, 1), ("min_p", 0, 0.3)]:
            if random.random() < 0.6:
                options[name] = float(random.uniform(low, high))
        if random.random() < 0.6:
            options["top_k"] = int(random.integers(1, 200))
        theirs = transformers.GenerationConfig(**({"top_k": 0} | options))
        processors = gpt2._get_logits_processor(theirs, input_ids_seq_length=6)
        scores = _scores("normal", seed)
        ids = random.integers(301, size=(5, 6))
        np.testing.assert_array_equal(
            sampling.process(scores, ids, GenerationConfig(**options)),
            processors(torch.tensor(ids), torch.tensor(scores)).numpy(),
        )


@pytest.fixture(autouse=True)
def _one_thread():
    """Matrices of 24 columns are not worth a second thread, which waits when others work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def gpt2():
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=VOCAB, n_positions=64, n_embd=24, n_layer=2, n_head=3,
        bos_token_id=None, eos_token_id=None, initializer_range=0.6,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config).eval()


class Theirs:
    """Their model behind our door, without a cache."""

    def __init__(self, model):
        self.model = model
        self.config = SimpleNamespace(vocab_size=VOCAB, n_positions=None)

    def next_token_logits(self, input_ids, attention_mask=None, cache=None):
        ids = torch.tensor(input_ids)
        mask = torch.ones_like(ids) if attention_mask is None else torch.tensor(attention_mask)
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        with torch.no_grad():
            out = self.model(ids, attention_mask=mask, position_ids=places)
        return out.logits[:, -1].numpy()


PROMPTS = [[3, 1, 4, 1, 5], [9], [2, 6, 5]]


def _both(gpt2, prompts=PROMPTS, pad=0, **options):
    width = max(map(len, prompts))
    ids = np.array([[pad] * (width - len(p)) + p for p in prompts])
    mask = np.array([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    ours = generate(Theirs(gpt2), prompts, pad_token_id=pad, **options)
    theirs = gpt2.generate(
        torch.tensor(ids), attention_mask=torch.tensor(mask), pad_token_id=pad, **options
    ).numpy()
    return ours, theirs


@pytest.mark.parametrize("eos", [None, 7, [7, 11]])
@pytest.mark.parametrize("penalty", [1.0, 1.5])
def test_greedy(gpt2, eos, penalty):
    options = {"max_new_tokens": 25, "eos_token_id": eos, "repetition_penalty": penalty}
    ours, theirs = _both(gpt2, **options)
    np.testing.assert_array_equal(ours, theirs)
    ours, theirs = _both(gpt2, pad=22, **options)
    np.testing.assert_array_equal(ours, theirs)


# Without an end token all texts end together, whatever the rule for stopping early.
ENDINGS = [(None, False), *itertools.product((7, [7, 11, 3]), (False, True, "never"))]


@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 1.0, 2.5])
@pytest.mark.parametrize(("eos", "early_stopping"), ENDINGS)
def test_beam_search(gpt2, early_stopping, length_penalty, eos):
    ended = 0
    for num_beams, wanted, penalty, new in [
        (2, 1, 1.0, 1),
        (2, 2, 1.0, 9),
        (3, 2, 1.0, 20),
        (5, 5, 1.0, 14),
        (4, 3, 1.3, 16),
    ]:
        ours, theirs = _both(
            gpt2, pad=22, num_beams=num_beams, num_return_sequences=wanted, eos_token_id=eos,
            max_new_tokens=new, length_penalty=length_penalty, early_stopping=early_stopping,
            repetition_penalty=penalty,
        )  # fmt: skip
        np.testing.assert_array_equal(ours, theirs)
        ended += (theirs == 22).sum()
    assert eos is None or ended > 30, "texts of different lengths, or this test shows little"


def test_beam_search_over_many_models():
    for seed in range(12):
        torch.manual_seed(seed)
        config = transformers.GPT2Config(
            vocab_size=VOCAB, n_positions=40, n_embd=12, n_layer=1, n_head=2,
            bos_token_id=None, eos_token_id=None, initializer_range=0.4 + 0.1 * seed,
        )  # fmt: skip
        model = transformers.GPT2LMHeadModel(config).eval()
        random = np.random.default_rng(seed)
        prompts = [random.integers(VOCAB - 1, size=n).tolist() for n in random.integers(1, 9, 4)]
        ours, theirs = _both(
            model, prompts, pad=22, num_beams=4, num_return_sequences=4, max_new_tokens=18,
            eos_token_id=[int(t) for t in random.integers(VOCAB - 1, size=2)],
            length_penalty=float(random.normal()),
        )  # fmt: skip
        np.testing.assert_array_equal(ours, theirs)


def test_sampling_draws_from_their_distribution(gpt2):
    """Not the same draws (their random numbers are others), but the same probabilities."""
    options = {"do_sample": True, "top_k": 6, "temperature": 1.4, "top_p": 0.9}
    ours = generate(
        Theirs(gpt2), PROMPTS[0], max_new_tokens=1, num_return_sequences=4000, seed=1, **options
    )
    torch.manual_seed(0)
    theirs = gpt2.generate(
        torch.tensor([PROMPTS[0]] * 4000), max_new_tokens=1, pad_token_id=0, **options
    ).numpy()
    counts = [np.bincount(out[:, -1], minlength=VOCAB) for out in (ours, theirs)]
    assert ((counts[0] > 0) == (counts[1] > 0)).all()
    n = np.maximum(counts[0] + counts[1], 1)
    z = (counts[0] - counts[1]) / np.sqrt(n)  # nearly normal, for each token
    assert abs(z).max() < 5
