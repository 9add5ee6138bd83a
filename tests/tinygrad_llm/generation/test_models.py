"""Generation with the project's own models, and its greedy and beam output beside theirs."""

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import models
from tinygrad_llm.generation import generate
from tinygrad_llm.generation.context import Reader, context_limit
from tinygrad_llm.generation.prompts import prepare

VOCAB = 29
KINDS = {
    "gpt2": {"n_positions": 10, "n_embd": 24, "n_layer": 2, "n_head": 3},
    "rnn": {"n_positions": 10, "n_embd": 12, "n_hidden": 16, "cell": "gru"},
    "lstm": {"n_positions": 10, "n_embd": 12, "n_hidden": 16, "cell": "lstm"},
    "mlp": {"n_positions": 10, "n_embd": 12, "n_hidden": 16, "order": 4},
}
MODES = {
    "greedy": {},
    "sampling": {"do_sample": True, "top_p": 0.95, "num_return_sequences": 2, "seed": 4},
    "beam": {"num_beams": 3, "eos_token_id": 5, "num_return_sequences": 2},
}
PROMPTS = [[3, 1, 4], [1], [5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3]]


@pytest.fixture(params=KINDS)
def model(request):
    tg.manual_seed(7)
    kind = "rnn" if request.param == "lstm" else request.param
    model = models.build(kind, vocab_size=VOCAB, **KINDS[request.param])
    generator = np.random.default_rng(1)
    for parameter in model.parameters():  # away from the small initial values
        parameter.array[...] += 0.4 * generator.standard_normal(parameter.shape)
    return model


@pytest.mark.parametrize("mode", MODES)
def test_cached_equals_uncached_and_a_batch_equals_each_alone(model, mode):
    options = {"max_new_tokens": 35, **MODES[mode]}
    fast = generate(model, PROMPTS, **options)
    np.testing.assert_array_equal(fast, generate(model, PROMPTS, use_cache=False, **options))
    copies = options.get("num_return_sequences", 1)
    for i, prompt in enumerate(PROMPTS):
        alone = generate(model, prompt, **options)
        rows = fast[i * copies : (i + 1) * copies, 14 - len(prompt) :]
        np.testing.assert_array_equal(rows[:, : alone.shape[1]], alone)
    assert len(np.unique(fast)) > 8


def test_the_logits_are_equal(model):
    model.eval()
    readers = [Reader(model, prepare(PROMPTS), 1, 30, use_cache) for use_cache in (True, False)]
    generator = np.random.default_rng(2)
    for step in range(30):
        fast, slow = (reader.read() for reader in readers)
        # float32, sums of at most 96 products, logits up to about 20
        np.testing.assert_allclose(fast, slow, rtol=1e-5, atol=1e-4, err_msg=f"step {step}")
        tokens = generator.integers(VOCAB, size=3)
        for reader in readers:
            reader.append(tokens)


def test_who_has_a_limit():
    for name, settings in KINDS.items():
        kind = "rnn" if name == "lstm" else name
        model = models.build(kind, vocab_size=VOCAB, **settings)
        assert context_limit(model) == (10 if name == "gpt2" else None)


def test_the_models_own_generate_is_this_one(model):
    np.testing.assert_array_equal(
        model.generate([[3, 1, 4]], max_new_tokens=9, do_sample=True, seed=5),
        generate(model, [[3, 1, 4]], max_new_tokens=9, do_sample=True, seed=5),
    )


def test_dropout_is_off_while_it_generates_and_on_again_afterwards():
    config = {**KINDS["gpt2"], "resid_pdrop": 0.5, "embd_pdrop": 0.5, "attn_pdrop": 0.5}
    model = models.build("gpt2", vocab_size=VOCAB, **config)
    model.transformer.h[0].eval()
    assert model.training
    training = generate(model, PROMPTS, max_new_tokens=20)
    assert [m.training for m in (model, *model.transformer.h)] == [True, False, True]
    np.testing.assert_array_equal(training, generate(model.eval(), PROMPTS, max_new_tokens=20))


@pytest.mark.parity
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"eos_token_id": 5, "repetition_penalty": 1.4},
        {"num_beams": 4, "num_return_sequences": 3, "eos_token_id": 5, "length_penalty": 0.6},
        {"num_beams": 3, "early_stopping": True, "eos_token_id": [5, 6]},
    ],
)
def test_our_gpt_writes_what_theirs_does(tmp_path, options):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=VOCAB, n_positions=48, n_embd=24, n_layer=3, n_head=4, initializer_range=0.3,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    theirs = transformers.GPT2LMHeadModel(config).eval()
    theirs.save_pretrained(tmp_path)
    ours = models.gpt.GPT2LMHeadModel.from_pretrained(tmp_path)
    options = {"max_new_tokens": 30, "pad_token_id": VOCAB - 1, **options}
    ids = np.full((3, 14), VOCAB - 1)
    for row, prompt in zip(ids, PROMPTS, strict=True):
        row[14 - len(prompt) :] = prompt
    mask = np.arange(14) >= 14 - np.array([len(prompt) for prompt in PROMPTS])[:, None]
    expected = theirs.generate(
        torch.tensor(ids), attention_mask=torch.tensor(mask).long(), **options
    ).numpy()
    np.testing.assert_array_equal(generate(ours, PROMPTS, **options), expected)
    assert len(np.unique(expected)) > 8
