"""GPT-2 against Hugging Face's, weights and all: the same numbers, and files for each other."""

import json

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import models
from tinygrad_llm.errors import CheckpointError
from tinygrad_llm.models.gpt import GPT2Config, GPT2LMHeadModel
from tinygrad_llm.pretrained import gpt2, load_file, save_file

TINY = {"vocab_size": 61, "n_positions": 23, "n_embd": 24, "n_layer": 3, "n_head": 4}
VARIANTS = {
    "plain": {},
    "untied": {"tie_word_embeddings": False},
    "narrow, relu": {"n_inner": 37, "activation_function": "relu"},
    "exact gelu, unscaled": {"activation_function": "gelu", "scale_attn_weights": False},
    "silu, by layer": {"activation_function": "silu", "scale_attn_by_inverse_layer_idx": True},
    "one head": {"n_head": 1, "n_layer": 1, "layer_norm_epsilon": 1e-3},
}
every_variant = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture
def transformers():
    pytest.importorskip("torch")
    return pytest.importorskip("transformers")


def theirs_of(transformers, seed=0, **config):
    """Hugging Face's GPT-2 with random weights, far enough from their start to tell mistakes."""
    import torch

    torch.manual_seed(seed)
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**config, bos_token_id=None, eos_token_id=None)
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:  # biases start at 0 and norms at 1: mixed up, nobody would see
                parameter += 0.1 * torch.randn_like(parameter)
            elif "wpe" in name:
                parameter *= 5
    return model.eval()


def ids_of(shape, vocab_size, seed=0):
    return np.random.default_rng(seed).integers(0, vocab_size, shape)


def first_that_differs(ours, theirs, ids, tolerance):
    """Which part of the model is the first whose output is not Hugging Face's; None if none is.

    A parity test that only says "logits differ" is no help: this says where to look.
    """
    import torch

    with torch.no_grad():
        expected = theirs(torch.tensor(ids), output_hidden_states=True).hidden_states
    got = ours(ids, output_hidden_states=True).hidden_states
    places = [
        "embeddings",
        *(f"transformer.h.{i}" for i in range(len(got) - 2)),
        "last block, ln_f",
    ]
    for place, a, b in zip(places, got, expected, strict=True):
        error = np.abs(a.array - b.numpy()).max()
        if not error <= tolerance:
            return f"{place}: off by {error:.3g}"
    return None


def assert_same(ours, theirs, ids, tolerance):
    """Logits, loss and the gradient of every parameter."""
    import torch

    expected = theirs(torch.tensor(ids), labels=torch.tensor(ids))
    got = ours(ids, labels=ids)
    where = first_that_differs(ours, theirs, ids, tolerance)
    assert where is None, where
    np.testing.assert_allclose(
        got.logits.array, expected.logits.detach().numpy(), atol=tolerance, rtol=tolerance
    )
    assert got.loss.item() == pytest.approx(expected.loss.item(), rel=tolerance)
    expected.loss.backward()
    got.loss.backward()
    gradients = gpt2.to_hugging_face({n: p.grad.array for n, p in ours.named_parameters()})
    their_gradients = {n: p.grad.numpy() for n, p in theirs.named_parameters()}
    assert gradients.keys() == their_gradients.keys()
    for name, gradient in their_gradients.items():
        # Relative to the largest entry of the tensor: entries near 0 are sums that cancel.
        scale = np.abs(gradient).max()
        error = np.abs(gradients[name] - gradient).max()
        assert error <= tolerance * max(scale, 1e-3), (
            f"gradient of {name}: {error:.3g} of {scale:.3g}"
        )


@pytest.mark.parity
@every_variant
def test_same_logits_loss_and_gradients(transformers, variant, tmp_path):
    theirs = theirs_of(transformers, **{**TINY, **VARIANTS[variant]})
    theirs.save_pretrained(tmp_path)
    ours = GPT2LMHeadModel.from_pretrained(tmp_path)
    assert_same(ours, theirs, ids_of((3, 19), TINY["vocab_size"]), tolerance=1e-5)


@pytest.mark.parity
@every_variant
def test_what_we_save_transformers_loads(transformers, variant, tmp_path):
    import torch

    tg.manual_seed(1)
    ours = models.build("gpt2", **{**TINY, **VARIANTS[variant]}).eval()
    generator = np.random.default_rng(1)
    for parameter in ours.parameters():
        parameter.array[...] += 0.1 * generator.standard_normal(parameter.shape)
    ours.save_pretrained(tmp_path)
    theirs, report = transformers.GPT2LMHeadModel.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report[key] for key in report), report
    assert type(transformers.AutoModelForCausalLM.from_pretrained(tmp_path)) is type(theirs)
    ids = ids_of((2, 17), TINY["vocab_size"])
    with torch.no_grad():
        expected = theirs.eval()(torch.tensor(ids)).logits.numpy()
    np.testing.assert_allclose(ours(ids).logits.array, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parity
def test_without_biases_theirs_are_zero(transformers, tmp_path):
    import torch

    tg.manual_seed(1)
    ours = models.build("gpt2", **TINY, bias=False).eval()
    ours.save_pretrained(tmp_path)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    ids = ids_of((2, 17), TINY["vocab_size"])
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)).logits.numpy()
    np.testing.assert_allclose(ours(ids).logits.array, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parity
def test_padding_on_the_left_as_theirs(transformers, tmp_path):
    import torch

    theirs = theirs_of(transformers, **TINY)
    theirs.save_pretrained(tmp_path)
    ours = GPT2LMHeadModel.from_pretrained(tmp_path)
    ids = ids_of((3, 9), TINY["vocab_size"])
    mask = np.ones_like(ids)
    mask[0, :4], mask[2, :7] = 0, 0
    positions = np.maximum(mask.cumsum(1) - 1, 0)
    for position_ids in (None, positions):
        with torch.no_grad():
            expected = theirs(
                torch.tensor(ids),
                attention_mask=torch.tensor(mask),
                position_ids=None if position_ids is None else torch.tensor(position_ids),
            ).logits.numpy()
        got = ours(ids, attention_mask=mask, position_ids=position_ids).logits.array
        real = mask == 1
        np.testing.assert_allclose(got[real], expected[real], atol=2e-5, rtol=1e-5)
    np.testing.assert_allclose(
        ours.next_token_logits(ids, attention_mask=mask), expected[:, -1], atol=2e-5, rtol=1e-5
    )


@pytest.mark.parity
def test_attention_weights_as_theirs(transformers, tmp_path):
    import torch

    theirs = theirs_of(transformers, **TINY)
    theirs.save_pretrained(tmp_path)
    theirs.set_attn_implementation("eager")  # their fast path gives no weights
    ours = GPT2LMHeadModel.from_pretrained(tmp_path)
    ids = ids_of((2, 8), TINY["vocab_size"])
    with torch.no_grad():
        expected = theirs(torch.tensor(ids), output_attentions=True).attentions
    got = ours(ids, output_attentions=True).attentions
    assert len(got) == len(expected) == TINY["n_layer"]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a.array, b.numpy(), atol=1e-6)


@pytest.mark.parity
def test_the_debugger_finds_the_layer_that_differs(transformers, tmp_path):
    theirs = theirs_of(transformers, **TINY)
    theirs.save_pretrained(tmp_path)
    ids = ids_of((2, 8), TINY["vocab_size"])
    for name, place in {
        "transformer.wpe.weight": "embeddings",
        "transformer.h.1.mlp.c_proj.bias": "transformer.h.1",
        "transformer.h.0.attn.c_attn.weight": "transformer.h.0",
        "transformer.ln_f.weight": "last block",
    }.items():
        ours = GPT2LMHeadModel.from_pretrained(tmp_path)
        assert first_that_differs(ours, theirs, ids, 1e-5) is None
        ours.get_parameter(name).array[...] *= 1.5
        assert first_that_differs(ours, theirs, ids, 1e-5).startswith(place)


@pytest.mark.parity
@pytest.mark.parametrize("safe", ["shards", "one file"])
def test_shards_are_read(transformers, tmp_path, safe):
    theirs = theirs_of(transformers, **TINY)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB" if safe == "shards" else "1GB")
    assert (tmp_path / "model.safetensors.index.json").exists() == (safe == "shards")
    ours = GPT2LMHeadModel.from_pretrained(tmp_path)
    ids = ids_of((2, 8), TINY["vocab_size"])
    assert first_that_differs(ours, theirs, ids, 1e-5) is None


@pytest.mark.parity
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_beams": 3, "length_penalty": 0.6},
    ],
    ids=["greedy", "beams"],
)
def test_same_text_as_theirs(transformers, tmp_path, options):
    import torch

    theirs = theirs_of(transformers, **TINY)
    theirs.save_pretrained(tmp_path)
    ours = GPT2LMHeadModel.from_pretrained(tmp_path)
    ids = ids_of((2, 5), TINY["vocab_size"])
    options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0, **options}
    expected = theirs.generate(
        torch.tensor(ids), attention_mask=torch.ones(2, 5, dtype=torch.long), **options
    ).numpy()
    for use_cache in (True, False):
        got = ours.generate(ids, use_cache=use_cache, **options)
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parity
@pytest.mark.slow
def test_the_full_size_as_theirs(transformers, tmp_path):
    import torch

    config = {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12}
    theirs = theirs_of(transformers, **config)
    theirs.save_pretrained(tmp_path)
    ours = GPT2LMHeadModel.from_pretrained(tmp_path)
    assert ours.num_parameters() == 124_439_808
    ids = ids_of((1, 64), 50257)
    assert_same(ours, theirs, ids, tolerance=1e-5)
    theirs.zero_grad()
    ours.zero_grad()
    prompt = ids[:, :7]
    for beams in (1, 2):
        options = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0, "num_beams": beams}
        expected = theirs.generate(
            torch.tensor(prompt), attention_mask=torch.ones(1, 7, dtype=torch.long), **options
        ).numpy()
        np.testing.assert_array_equal(ours.generate(prompt, **options), expected)


# What follows needs nothing but NumPy.


def folder_of(tmp_path, **changes):
    tg.manual_seed(1)
    model = GPT2LMHeadModel(GPT2Config(**{**TINY, **changes})).eval()
    model.save_pretrained(tmp_path)
    return model, load_file(tmp_path / "model.safetensors")


def test_products_are_stored_in_by_out(tmp_path):
    model, stored = folder_of(tmp_path)
    assert stored["transformer.h.0.attn.c_attn.weight"].shape == (24, 72)
    assert stored["transformer.h.0.mlp.c_fc.weight"].shape == (24, 96)
    assert stored["transformer.h.0.mlp.c_proj.weight"].shape == (96, 24)
    square = model.transformer.h[2].attn.c_proj.weight.array  # where a shape cannot tell
    np.testing.assert_array_equal(stored["transformer.h.2.attn.c_proj.weight"], square.T)
    np.testing.assert_array_equal(
        stored["transformer.wte.weight"], model.transformer.wte.weight.array
    )


def test_there_and_back_is_the_same():
    tg.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**TINY, tie_word_embeddings=False))
    tensors = {name: tensor.array for name, tensor in model.state_dict().items()}
    back = gpt2.from_hugging_face(gpt2.to_hugging_face(tensors))
    assert back.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.parametrize("old", ["no prefix", "buffers", "both"])
def test_names_of_older_checkpoints(tmp_path, old):
    model, stored = folder_of(tmp_path)
    prefix = "" if old != "buffers" else "transformer."
    stored = {name.replace("transformer.", prefix, 1): a for name, a in stored.items()}
    if old != "no prefix":
        for layer in range(TINY["n_layer"]):
            stored[f"{prefix}h.{layer}.attn.bias"] = np.tril(np.ones((1, 1, 23, 23), np.float32))
            stored[f"{prefix}h.{layer}.attn.masked_bias"] = np.float32(-1e4)
    save_file(stored, tmp_path / "model.safetensors")
    ids = ids_of((2, 6), TINY["vocab_size"])
    got = GPT2LMHeadModel.from_pretrained(tmp_path)(ids).logits.array
    np.testing.assert_array_equal(got, model(ids).logits.array)


def test_half_precision_is_widened(tmp_path):
    model, stored = folder_of(tmp_path)
    save_file({n: a.astype(np.float16) for n, a in stored.items()}, tmp_path / "model.safetensors")
    got = GPT2LMHeadModel.from_pretrained(tmp_path)
    assert got.transformer.wte.weight.dtype == np.float32
    np.testing.assert_allclose(
        got.transformer.wte.weight.array, model.transformer.wte.weight.array, rtol=1e-3, atol=1e-6
    )


def test_a_head_that_differs_from_its_tied_twin_is_refused(tmp_path):
    _, stored = folder_of(tmp_path)
    stored["lm_head.weight"] = stored["transformer.wte.weight"].copy()
    save_file(stored, tmp_path / "model.safetensors")
    GPT2LMHeadModel.from_pretrained(tmp_path)
    stored["lm_head.weight"][3, 4] += 1
    save_file(stored, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="lm_head.weight"):
        GPT2LMHeadModel.from_pretrained(tmp_path)


def test_fields_of_others_are_passed_over(tmp_path):
    model, _ = folder_of(tmp_path)
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    del values["model_type"], values["bias"]
    values |= {
        "summary_type": "cls_index",
        "n_ctx": 23,
        "torch_dtype": "float32",
        "use_cache": True,
    }
    path.write_text(json.dumps(values))
    assert GPT2LMHeadModel.from_pretrained(tmp_path).config == model.config


def test_a_shard_that_lies_elsewhere_is_refused(tmp_path):
    folder_of(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "stolen.safetensors")
    index = tmp_path / "model" / "model.safetensors.index.json"
    index.write_text(
        json.dumps({"weight_map": {"transformer.wte.weight": "../stolen.safetensors"}})
    )
    with pytest.raises(CheckpointError, match=r"'\.\./stolen.safetensors', no file beside it"):
        models.load(tmp_path / "model")


def test_a_shard_that_is_missing_is_named(tmp_path):
    folder_of(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"wte.weight": "part-2.safetensors"}}))
    with pytest.raises(CheckpointError, match="there is no part-2.safetensors"):
        models.load(tmp_path)
    index.write_text("{}")
    with pytest.raises(CheckpointError, match="weight_map"):
        models.load(tmp_path)
