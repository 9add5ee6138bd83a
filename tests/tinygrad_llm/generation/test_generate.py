"""The front door: what it accepts, what it refuses and how it says so, seeds, ends, padding."""

import warnings

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.errors import CheckpointError, ConfigError, DataError, UserError
from tinygrad_llm.generation import GenerationConfig, generate, stream
from tinygrad_llm.generation.prompts import prepare

VOCAB = 6
# 1 -> 2 -> 3 -> 4 -> 5 -> 5
CHAIN = np.eye(VOCAB)[[1, 2, 3, 4, 5, 5]] * 9


@pytest.fixture
def model(toys):
    return toys.TableModel(CHAIN)


# -- what is refused --

REFUSED = [
    ({"max_new_tokens": 0}, "max_new_tokens=0 is not accepted; use an integer of at least 1"),
    ({"max_new_tokens": 2.5}, "max_new_tokens=2.5"),
    ({"max_new_tokens": True}, "max_new_tokens=True"),
    ({"max_length": -1}, "max_length=-1"),
    ({"max_length": 2}, "max_length=2 leaves no room after a prompt of 2 tokens; use at least 3"),
    ({"do_sample": 1}, "do_sample=1 is not accepted; use True or False"),
    ({"do_sample": True, "temperature": 0}, "temperature=0 .* do_sample=False"),
    ({"do_sample": True, "temperature": -0.5}, "temperature=-0.5"),
    ({"do_sample": True, "temperature": float("nan")}, "temperature=nan"),
    ({"do_sample": True, "temperature": "hot"}, "temperature='hot'"),
    ({"do_sample": True, "top_k": -1}, "top_k=-1"),
    ({"do_sample": True, "top_k": 2.0}, "top_k=2.0"),
    ({"do_sample": True, "top_p": 1.5}, "top_p=1.5 is not accepted; use a number from 0 to 1"),
    ({"do_sample": True, "top_p": -0.1}, "top_p=-0.1"),
    ({"do_sample": True, "min_p": 2}, "min_p=2"),
    ({"do_sample": True, "min_p": float("nan")}, "min_p=nan"),
    ({"repetition_penalty": 0.0}, "repetition_penalty=0.0 .* above 0"),
    ({"repetition_penalty": float("inf")}, "repetition_penalty=inf"),
    ({"num_beams": 0}, "num_beams=0"),
    ({"num_beams": 3, "length_penalty": float("nan")}, "length_penalty=nan"),
    ({"num_beams": 3, "early_stopping": "always"}, "early_stopping='always' .* \"never\""),
    (
        {"num_beams": 2, "num_return_sequences": 3},
        "num_return_sequences=3 is more than num_beams=2",
    ),
    ({"num_return_sequences": 2}, "num_return_sequences=2 .* greedy search, which finds one"),
    ({"num_return_sequences": 0}, "num_return_sequences=0"),
    ({"eos_token_id": 6}, "eos_token_id=6 is outside the model's vocabulary, 0 to 5"),
    ({"eos_token_id": [1, -2]}, r"eos_token_id=\[1, -2\]"),
    ({"eos_token_id": "</s>"}, "eos_token_id='</s>'"),
    ({"pad_token_id": 99}, "pad_token_id=99 is outside the model's vocabulary, 0 to 5"),
    ({"stop_strings": ""}, "stop_strings='' .* not empty"),
    ({"stop_strings": ["a", ""]}, "stop_strings="),
    ({"stop_strings": 5}, "stop_strings=5"),
    ({"stop_strings": "x"}, "give the tokenizer as well"),
    ({"use_cache": None}, "use_cache=None"),
    ({"seed": -1}, "seed=-1"),
    ({"seed": 0.5}, "seed=0.5"),
    ({"num_beams": 2, "streamer": object()}, "streamer does not go with num_beams > 1"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_an_error_names_the_argument_what_was_given_and_what_is_accepted(model, options, message):
    with pytest.raises(ConfigError, match="generate: .*" + message) as caught:
        generate(model, [[1, 2]], **options)
    assert isinstance(caught.value, UserError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([], DataError, "the prompt is empty; a model needs at least one token"),
        ([[]], DataError, "the prompt is empty"),
        ([[1, 2], []], DataError, "the prompt is empty"),
        (np.zeros((2, 0), int), DataError, "the prompt is empty"),
        ([[1, 6]], DataError, r"token id 6 .* outside the vocabulary 0 .. 5"),
        ([[1], [2, -1]], DataError, r"token id -1"),
        ([[1.0, 2.0]], TypeError, "integers, not float64"),
        ("hello", TypeError, r"input_ids is a str; encode it first"),
        (np.zeros((1, 2, 3), int), ValueError, r"shape \(1, 2, 3\)"),
        (np.zeros((0, 3), int), ValueError, r"shape \(0, 3\)"),
    ],
)
def test_prompts_that_are_none(model, ids, error, message):
    with pytest.raises(error, match=message):
        generate(model, ids)


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        ([[1, 2, 3]], [[1, 1]], r"attention_mask of shape \(1, 2\) does not fit .* \(1, 3\)"),
        ([[1, 2, 3]], [[1, 1, 0]], "a 0 after a 1; prompts are padded on the left"),
        ([[1, 2, 3]], [[0, 0, 0]], "the prompt is empty"),
        ([[1, 2], [3]], [[1, 1], [0, 1]], "does not go with prompts of different lengths"),
    ],
)
def test_masks_that_do_not_fit(model, ids, mask, message):
    with pytest.raises(ValueError, match=message):
        generate(model, ids, attention_mask=mask)


def test_a_mistyped_argument_is_named_with_what_was_meant(model):
    with pytest.raises(TypeError, match="no argument 'temprature'; did you mean 'temperature'"):
        generate(model, [[1]], temprature=0.5)
    with pytest.raises(TypeError, match="no argument 'xyzzy'; known are max_new_tokens,"):
        generate(model, [[1]], xyzzy=0.5)


@pytest.mark.parametrize(
    "options",
    [{"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.5}, {"min_p": 0.1}, {"length_penalty": 2.0},
     {"early_stopping": True}],
)  # fmt: skip
def test_what_has_no_effect_is_said(model, options):
    with pytest.warns(UserWarning, match=f"{next(iter(options))}=.* has no effect without"):
        generate(model, [[1]], **options)


def test_what_is_switched_off_needs_no_warning(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generate(model, [[1]], temperature=1.0, top_k=0, top_p=1.0, min_p=None, length_penalty=1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("options", [{}, {"do_sample": True}, {"num_beams": 2}])
def test_a_model_gone_wrong_is_not_listened_to(toys, bad, options):
    logits = np.zeros((4, 4))
    logits[:, 2] = bad
    with pytest.raises(CheckpointError, match=f"logit is {bad} .*text 0.* not finite"):
        generate(toys.TableModel(logits), [[1]], **options)


def test_a_model_that_leaves_no_token_is_not_listened_to(toys):
    with pytest.raises(CheckpointError, match="logit is -inf"):
        generate(toys.TableModel(np.full((4, 4), -np.inf)), [[1]], do_sample=True)


# -- what comes out --


def test_greedy_search_follows_the_likeliest(model):
    out = generate(model, [[1], [3]], max_new_tokens=3)
    assert out.tolist() == [[1, 2, 3, 4], [3, 4, 5, 5]]
    assert out.dtype == np.int64


@pytest.mark.parametrize(
    "prompt",
    [[3, 1], [[3, 1]], (3, 1), np.array([3, 1], np.uint16), np.array([[3, 1]], np.int32)],
)
def test_the_forms_of_a_prompt(model, prompt):
    assert generate(model, prompt, max_new_tokens=2).tolist() == [[3, 1, 2, 3]]


def test_tensors_are_prompts_too(model):
    prompt = tg.tensor([[3, 1]])
    mask = tg.tensor([[0, 1]])
    assert generate(model, prompt, max_new_tokens=1).tolist() == [[3, 1, 2]]
    assert generate(model, [tg.tensor([3]), tg.tensor([2, 1])], max_new_tokens=1).tolist() == [
        [0, 3, 4],
        [2, 1, 2],
    ]
    out = generate(model, prompt, attention_mask=mask, max_new_tokens=1)
    assert out.tolist() == [[0, 1, 2]]


def test_length(model):
    assert generate(model, [[1, 2]]).shape == (1, 22)
    assert generate(model, [[1, 2]], max_length=9).shape == (1, 9)
    assert generate(model, [[1, 2]], max_length=9, max_new_tokens=3).shape == (1, 5)


def test_the_prompt_is_not_changed(model):
    prompt = np.array([[0, 3], [1, 2]])
    generate(model, prompt, attention_mask=[[0, 1], [1, 1]], max_new_tokens=2, pad_token_id=5)
    assert prompt.tolist() == [[0, 3], [1, 2]]


def test_a_configuration_can_be_made_once(model):
    config = GenerationConfig(max_new_tokens=2, eos_token_id=3)
    assert generate(model, [[1]], config).tolist() == [[1, 2, 3]]
    assert generate(model, [[1]], config, max_new_tokens=1).tolist() == [[1, 2]]
    assert config.max_new_tokens == 2


def test_the_end_token_ends_and_what_follows_is_padding(model):
    out = generate(model, [[1], [2], [3]], max_new_tokens=9, eos_token_id=4, pad_token_id=0)
    assert out.tolist() == [[1, 2, 3, 4], [2, 3, 4, 0], [3, 4, 0, 0]]
    out = generate(model, [[1], [2]], max_new_tokens=9, eos_token_id=[5, 4])
    assert out.tolist() == [[1, 2, 3, 4], [2, 3, 4, 4]], "padded with the lowest end token"


def test_the_end_token_comes_from_the_model_unless_said_otherwise(model):
    model.config.eos_token_id = 4
    assert generate(model, [[1]], max_new_tokens=9).tolist() == [[1, 2, 3, 4]]
    assert generate(model, [[1]], max_new_tokens=9, eos_token_id=3).tolist() == [[1, 2, 3]]
    assert generate(model, [[1]], max_new_tokens=9, eos_token_id=()).shape == (1, 10)
    model.config.eos_token_id = 50256  # GPT-2's default, in a model of six tokens
    assert generate(model, [[1]], max_new_tokens=9).shape == (1, 10)


def test_an_end_token_in_the_prompt_does_not_end(model):
    assert generate(model, [[4, 1]], max_new_tokens=2, eos_token_id=4).tolist() == [[4, 1, 2, 3]]


@pytest.mark.parametrize("options", [{}, {"num_beams": 2}])
def test_padding_is_seen_by_its_mask_or_by_its_id(toys, options):
    model = toys.Attention(vocab_size=11, n_positions=50)
    options = {"max_new_tokens": 6, **options}
    lists = generate(model, [[3, 4], [5, 6, 7, 8]], pad_token_id=9, **options)
    ids = np.array([[9, 9, 3, 4], [5, 6, 7, 8]])
    masked = generate(
        model, ids, attention_mask=[[0, 0, 1, 1], [1, 1, 1, 1]], pad_token_id=9, **options
    )
    seen = generate(model, ids, pad_token_id=9, **options)
    np.testing.assert_array_equal(lists, masked)
    np.testing.assert_array_equal(lists, seen)
    ignored = generate(model, ids, **options)
    assert (ignored[0] != lists[0]).any(), "without a mask, the 9s are text"


def test_what_stands_in_the_padding_does_not_matter(toys):
    model = toys.Attention(vocab_size=11, n_positions=50)
    mask = [[0, 0, 1, 1]]
    out = [
        generate(model, [[x, x, 3, 4]], attention_mask=mask, max_new_tokens=8)[0, 4:].tolist()
        for x in (0, 7, 10)
    ]
    assert out[0] == out[1] == out[2]
    mask += [[1, 1, 1, 1]]
    out = generate(model, [[-1, 99, 3, 4], [5, 6, 7, 8]], attention_mask=mask, max_new_tokens=8)
    np.testing.assert_array_equal(out, generate(model, [[3, 4], [5, 6, 7, 8]], max_new_tokens=8))


def test_leading_padding_of_a_list_is_text():
    """A list of prompts needs no padding, so nothing in it is taken for padding."""
    assert prepare(
        [[9, 9, 1], [1, 2, 3]], pad_token_id=9, padding_marked=True
    ).lengths.tolist() == [3, 3]
    array = np.array([[9, 9, 1], [1, 2, 3], [9, 9, 9]])
    assert prepare(array, pad_token_id=9, padding_marked=True).lengths.tolist() == [1, 3, 3]
    assert prepare(array, pad_token_id=9).lengths.tolist() == [3, 3, 3]


# -- seeds --

UNIFORM = {"do_sample": True, "max_new_tokens": 30}


@pytest.fixture
def fair(toys):
    return toys.TableModel(np.zeros((50, 50)))


def test_the_same_seed_gives_the_same_text(fair):
    first, second, other = (generate(fair, [[1]], seed=seed, **UNIFORM) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert (first != other).sum() > 20


def test_without_a_seed_the_engines_random_state_decides(fair):
    tg.manual_seed(8)
    first, second = (generate(fair, [[1]], **UNIFORM) for _ in range(2))
    tg.manual_seed(8)
    again = generate(fair, [[1]], **UNIFORM)
    np.testing.assert_array_equal(first, again)
    assert (first != second).sum() > 20


def test_a_seed_leaves_the_engines_random_state_alone(fair):
    before = tg.rng.state.state_dict()
    generate(fair, [[1]], seed=3, **UNIFORM)
    assert tg.rng.state.state_dict() == before


def test_every_text_of_a_batch_is_drawn_by_itself(fair):
    out = generate(fair, [[1], [2], [1]], seed=3, num_return_sequences=4, **UNIFORM)
    for i in range(12):
        for j in range(i):
            same = (out[i, 1:] == out[j, 1:]).sum()
            assert same < 8, f"texts {i} and {j} agree in {same} of 30 tokens; chance gives 0.6"


def test_a_text_does_not_depend_on_its_batch(fair):
    options = {"seed": 3, "num_return_sequences": 2, **UNIFORM}
    alone = generate(fair, [[7, 1]], **options)
    batch = generate(fair, [[5], [7, 1], [2, 2, 2]], **options)
    np.testing.assert_array_equal(batch[2:4, 1:], alone)
    # The same prompt twice is the same as asking for twice as many texts.
    twice = generate(fair, [[7, 1], [7, 1]], **options)
    four = generate(fair, [[7, 1]], **{**options, "num_return_sequences": 4})
    np.testing.assert_array_equal(twice, four)


def test_drawn_tokens_have_the_models_probabilities(toys):
    """Also after the cuts: all 20,000 first tokens of one call, counted."""
    p = np.array([0.4, 0.3, 0.2, 0.07, 0.03])
    model = toys.TableModel(np.log(np.tile(p, (5, 1))))
    out = generate(
        model, [[0]], do_sample=True, max_new_tokens=1, num_return_sequences=20_000, seed=0,
        top_p=0.84, temperature=0.5,
    )  # fmt: skip
    sharp = p[:2] ** 2 / (p[:2] ** 2).sum()  # at 0.5 the first two have 0.845
    counts = np.bincount(out[:, 1], minlength=5)
    assert counts[2:].sum() == 0
    z = (counts[0] - 20_000 * sharp[0]) / np.sqrt(20_000 * sharp[0] * sharp[1])
    assert abs(z) < 5


# -- other models --


def test_a_model_without_config_and_cache_will_do(toys):
    model = type("M", (), {"next_token_logits": lambda self, ids, **_: CHAIN[ids[:, -1]]})()
    assert generate(model, [[1]], max_new_tokens=3).tolist() == [[1, 2, 3, 4]]
    assert generate(model, [[1]], max_new_tokens=3, num_beams=2).tolist() == [[1, 2, 3, 4]]
    with pytest.raises(DataError, match="token id -3"):
        generate(model, [[-3]])


def test_half_precision_logits(toys):
    model = toys.TableModel(CHAIN.astype(np.float16))
    assert generate(model, [[1]], max_new_tokens=3).tolist() == [[1, 2, 3, 4]]


def test_an_n_gram_model(toys):
    from tinygrad_llm.models.ngram import NGram

    ids = np.array([0, 1, 2, 3, 4] * 50)
    model = NGram(3, 5).fit(ids)
    out = generate(model, [[2, 3], [1]], max_new_tokens=6)
    assert out.tolist() == [[2, 3, 4, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 0, 1, 2]]
    drawn = generate(model, [[2]], max_new_tokens=50, do_sample=True, seed=1)
    assert drawn.shape == (1, 51)
    assert list(stream(model, [2], max_new_tokens=3)) == [3, 4, 0]
    assert generate(model, [[2]], max_new_tokens=4, num_beams=3).tolist() == [[2, 3, 4, 0, 1]]


class Recorder:
    def __init__(self):
        self.got = []

    def put(self, ids):
        self.got.append(np.asarray(ids).tolist())

    def end(self):
        self.got.append("end")


def test_a_streamer_gets_the_prompts_then_each_step_then_the_end(model):
    recorder = Recorder()
    generate(model, [[1], [3]], max_new_tokens=9, eos_token_id=5, pad_token_id=2, streamer=recorder)
    assert recorder.got == [[[1], [3]], [2, 4], [3, 5], [4, 2], [5, 2], "end"]
