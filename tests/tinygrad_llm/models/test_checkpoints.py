"""Saving and loading: nothing changes, and whatever is wrong is named."""

import json
import os

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import models
from tinygrad_llm.errors import CheckpointError
from tinygrad_llm.pretrained import load_file, save_file

V = 11
MODELS = {
    "gpt2": {"n_positions": 9, "n_embd": 12, "n_layer": 2, "n_head": 3},
    "mlp": {"order": 4, "n_embd": 5, "n_hidden": 6},
    "rnn": {"cell": "gru", "n_embd": 8, "n_hidden": 8, "tie_word_embeddings": True},
}
every_type = pytest.mark.parametrize("model_type", MODELS)


def build(model_type, seed=1, **changes):
    tg.manual_seed(seed)
    return models.build(model_type, **{"vocab_size": V, **MODELS[model_type], **changes})


def ids_of(shape, seed=0):
    return np.random.default_rng(seed).integers(0, V, shape)


@pytest.fixture
def folder(tmp_path):
    models.save(build("gpt2"), tmp_path / "gpt")
    return tmp_path / "gpt"


def change(folder, **entries):
    """Edit config.json; None takes an entry away."""
    values = json.loads((folder / "config.json").read_text()) | entries
    values = {name: value for name, value in values.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(values))


@every_type
def test_a_saved_model_comes_back(model_type, tmp_path):
    model = build(model_type)
    ids = ids_of((2, 5))
    models.save(model, tmp_path / "new" / "folder")
    got = models.load(tmp_path / "new" / "folder")
    assert type(got) is type(model)
    assert got.config == model.config
    assert not got.training
    assert got.num_parameters() == model.num_parameters()
    np.testing.assert_array_equal(got(ids).logits.array, model.eval()(ids).logits.array)
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == ["config.json", "model.safetensors"]


@every_type
def test_a_loaded_model_can_be_trained_on(model_type, tmp_path):
    models.save(build(model_type), tmp_path)
    model = models.load(tmp_path).train()
    model.loss(ids_of((2, 5)), ids_of((2, 5), 1)).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert all(p.array.flags.writeable for p in model.parameters())


def test_a_model_in_float64_is_saved_as_such_and_loaded_as_float32(tmp_path):
    models.save(build("mlp").double(), tmp_path)
    assert load_file(tmp_path / "model.safetensors")["hidden.weight"].dtype == np.float64
    assert models.load(tmp_path).hidden.weight.dtype == np.float32


def test_tied_tensors_are_stored_once_and_tied_again(tmp_path):
    for model_type, left_out in (("gpt2", "lm_head.weight"), ("rnn", "output.weight")):
        models.save(build(model_type), tmp_path)
        assert left_out not in load_file(tmp_path / "model.safetensors")
    assert models.load(tmp_path).output.weight is not None
    model = models.load(tmp_path)
    assert model.output.weight is model.embedding.weight


def test_the_n_gram_goes_the_same_way(tmp_path):
    model = models.build("ngram", order=2, vocab_size=V).fit(ids_of(50))
    models.save(model, tmp_path)
    got = models.load(tmp_path)
    assert type(got) is models.NGram
    ids = ids_of((1, 3))
    np.testing.assert_array_equal(got.next_token_logits(ids), model.next_token_logits(ids))


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(CheckpointError, match=f"there is no {missing}"):
        models.load(folder)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere: there is no such folder"):
        models.load(tmp_path / "nowhere")


def test_pickled_weights_are_refused_with_the_remedy(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickled .*save_pretrained"):
        models.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00", "{" * 100_000])
def test_a_config_that_cannot_be_read(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="config.json"):
        models.load(folder)


def test_a_config_that_is_cut_off_anywhere(folder):
    text = (folder / "config.json").read_text()
    for end in range(0, len(text.rstrip()), 7):
        (folder / "config.json").write_text(text[:end])
        with pytest.raises(CheckpointError, match="config.json"):
            models.load(folder)


@pytest.mark.parametrize("given", ["bert", None, 3, ["gpt2"]])
def test_an_unknown_model_type_is_named(folder, given):
    change(folder, model_type=given)
    with pytest.raises(CheckpointError, match="model_type=.* is not known; known are ngram"):
        models.load(folder)


def test_loading_as_another_class_says_so(folder):
    with pytest.raises(CheckpointError, match="model_type='gpt2', but MLPLanguageModel is 'mlp'"):
        models.MLPLanguageModel.load(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [("n_head", 4), ("n_layer", 1), ("n_layer", 3), ("n_embd", 24), ("vocab_size", 12),
     ("n_positions", 8), ("activation_function", "relu"), ("layer_norm_epsilon", 1e-3),
     ("bias", False), ("tie_word_embeddings", False), ("n_inner", 7)],
)  # fmt: skip
def test_a_config_of_another_model_is_named_by_field(folder, field, value):
    change(folder, **{field: value})
    with pytest.raises(CheckpointError, match=f"config.json: {field}={value!r}, but .*{field}="):
        models.load(folder)


def test_what_only_matters_in_training_may_be_edited(folder):
    change(folder, resid_pdrop=0.3, eos_token_id=4)
    config = models.load(folder).config
    assert (config.resid_pdrop, config.eos_token_id) == (0.3, 4)


@pytest.mark.parametrize("value", [0, "12", 1e400, None])
def test_a_field_that_makes_no_sense_is_named(folder, value):
    change(folder, n_embd=value)
    with pytest.raises(CheckpointError, match="config.json.*n_embd"):
        models.load(folder)


@pytest.mark.parametrize("how", ["missing", "unexpected", "shape"])
def test_the_tensor_that_does_not_fit_is_named(folder, how):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = "transformer.h.1.mlp.c_fc.weight"
    if how == "missing":
        del tensors[name]
    elif how == "unexpected":
        name = "transformer.h.2.mlp.c_fc.weight"
        tensors[name] = np.zeros((2, 3), np.float32)
    else:
        tensors[name] = tensors[name][:, :-1]
    save_file(tensors, path)  # as another program would: no configuration in the metadata
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")) as caught:
        models.load(folder)
    assert str(folder) in str(caught.value)


def test_a_truncated_or_altered_file_of_tensors(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(CheckpointError, match="truncated: tensor"):
        models.load(folder)
    altered = bytearray(whole)
    altered[-5] ^= 1
    path.write_bytes(altered)
    with pytest.raises(CheckpointError, match="tensor 'transformer.* was altered"):
        models.load(folder)


def test_a_save_that_fails_leaves_the_last_checkpoint(folder, monkeypatch):
    ids = ids_of((1, 4))
    before = models.load(folder)(ids).logits.array

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        models.save(build("gpt2", seed=9), folder)
    monkeypatch.undo()
    np.testing.assert_array_equal(models.load(folder)(ids).logits.array, before)
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]


def test_a_kill_between_the_two_files_is_seen(folder, monkeypatch):
    from tinygrad_llm.models import checkpoints

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        models.save(build("gpt2", n_head=4), folder)
    with pytest.raises(CheckpointError, match=r"n_head=3, but .* n_head=4.*do not belong together"):
        models.load(folder)


class Tokenizer:
    def __init__(self, vocab_size):
        self.vocab_size = vocab_size


@pytest.mark.parametrize(("tokens", "fits"), [(V, True), (V - 1, True), (V + 1, False)])
def test_a_tokenizer_of_another_size(tokens, fits):
    for model in (build("mlp"), models.build("ngram", order=2, vocab_size=V)):
        if fits:
            models.check_vocabulary(model, Tokenizer(tokens))
        else:
            with pytest.raises(
                CheckpointError, match="12 tokens, but the model's vocab_size is 11"
            ):
                models.check_vocabulary(model, Tokenizer(tokens))


def test_a_model_may_be_padded_but_not_more():
    model = build("mlp", vocab_size=500)
    models.check_vocabulary(model, Tokenizer(499))
    with pytest.raises(CheckpointError, match="65 tokens, but the model's vocab_size is 500"):
        models.check_vocabulary(model, Tokenizer(65))
