"""A student's part in the place of the engine's: it is really used, and really taken out again."""

import functools
import math

import numpy as np
import pytest

import tinygrad_llm as tg
import tinygrad_llm.functional as F
from tinygrad_llm import device, generation, models, nn, optim, tokenizers
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.replace import ROOMS, find, replace

ORIGINALS = {
    (room, name): getattr(module, name)
    for room, module in (("F", F), ("nn", nn), ("optim", optim), ("tokenizers", tokenizers))
    for name in module.__all__
}


@pytest.fixture(autouse=True)
def _everything_is_as_it_was():
    yield
    for (room, name), original in ORIGINALS.items():
        module = {"F": F, "nn": nn, "optim": optim, "tokenizers": tokenizers}[room]
        assert getattr(module, name) is original, f"{room}.{name} was left replaced"
    assert device._replaced == {}


def tiny_gpt(**more):
    tg.manual_seed(3)
    settings = {"vocab_size": 11, "n_positions": 6, "n_embd": 8, "n_layer": 2, "n_head": 2,
                "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, **more}  # fmt: skip
    return models.build("gpt2", **settings)


IDS = np.array([[1, 5, 2, 8, 3], [7, 0, 9, 4, 10]])
TARGETS = np.array([[5, 2, 8, 3, 6], [0, 9, 4, 10, 1]])


def loss_and_gradients(model):
    model.zero_grad()
    loss = model.loss(IDS, TARGETS)
    loss.backward()
    return loss.item(), {name: p.grad.array.copy() for name, p in model.named_parameters()}


def same(one, other):
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        np.testing.assert_allclose(gradient, other[1][name], rtol=1e-3, atol=1e-6, err_msg=name)


def counted(function):
    @functools.wraps(function)  # the engine looks at which arguments it takes
    def counting(*args, **kwargs):
        counting.calls += 1
        return function(*args, **kwargs)

    counting.calls = 0
    return counting


# What a student would write, with the operations of tensors alone.


def my_softmax(x, dim):
    e = (x - x.detach().amax(dim, keepdim=True)).exp()
    return e / e.sum(dim, keepdim=True)


def my_log_softmax(x, dim):
    x = x - x.detach().amax(dim, keepdim=True)
    return x - x.exp().sum(dim, keepdim=True).log()


def my_layer_norm(x, normalized_shape, weight, bias, eps):
    x = x - x.mean(-1, keepdim=True)
    return x / ((x * x).mean(-1, keepdim=True) + eps).sqrt() * weight + bias


def my_gelu(x, approximate):
    assert approximate == "tanh"
    return 0.5 * x * (1 + ((x + 0.044715 * x**3) * math.sqrt(2 / math.pi)).tanh())


def my_linear(x, weight, bias=None):
    y = x @ weight.transpose(0, 1)
    return y if bias is None else y + bias


def my_embedding(ids, weight):
    return weight[ids]


def my_attention(q, k, v, is_causal=False, scale=None):
    """As the textbook has it: no mask, no dropout, no cache."""
    scores = q @ k.transpose(-1, -2) * scale
    late = np.triu(np.ones(scores.shape[-2:], bool), 1)
    return my_softmax(scores.masked_fill(tg.tensor(late), -math.inf), -1) @ v


def my_cross_entropy(logits, targets):
    return -my_log_softmax(logits, 1)[tg.arange(len(targets)), targets].mean()


CALLS = {  # per forward pass of a GPT with two layers
    "softmax": (my_softmax, 2),
    "log_softmax": (my_log_softmax, 1),
    "layer_norm": (my_layer_norm, 5),
    "gelu": (my_gelu, 2),
    "linear": (my_linear, 2 * 4 + 1),
    "embedding": (my_embedding, 2),
    "scaled_dot_product_attention": (my_attention, 2),
    "cross_entropy": (my_cross_entropy, 1),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("built", ["before", "inside"])
def test_a_students_function_powers_the_gpt(name, built):
    function, calls = CALLS[name]
    mine = counted(function)
    expected = loss_and_gradients(tiny_gpt())
    model = tiny_gpt()
    with replace(name, mine):
        got = loss_and_gradients(tiny_gpt() if built == "inside" else model)
    assert mine.calls == calls
    same(got, expected)
    same(loss_and_gradients(model), expected)
    assert mine.calls == calls  # no more of it after the block


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "layer_norm", "gelu", "linear"])
def test_a_wrong_function_shows_in_the_model(name):
    """So the one that was put in is the one that counts, forward and backward."""
    function, _ = CALLS[name]
    expected = loss_and_gradients(tiny_gpt())
    with replace(name, lambda *args, **kwargs: function(*args, **kwargs) * 1.5):
        loss, gradients = loss_and_gradients(tiny_gpt())
    assert abs(loss - expected[0]) > 1e-5
    name = "transformer.h.0.attn.c_attn.weight"
    assert not np.allclose(gradients[name], expected[1][name], rtol=1e-3)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("name", ["softmax", "scaled_dot_product_attention"])
def test_generation_runs_on_it_too(name, use_cache):
    """Also a textbook attention that knows nothing of a cache, past the end of the context."""
    model = tiny_gpt()
    prompt = IDS[:1, :3]
    expected = generation.generate(model, prompt, max_new_tokens=9, use_cache=use_cache)
    mine = counted(CALLS[name][0])
    with replace(name, mine):
        got = generation.generate(model, prompt, max_new_tokens=9, use_cache=use_cache)
    np.testing.assert_array_equal(got, expected)
    assert mine.calls >= 2 * 9


def test_attention_with_everything_through_a_students_softmax():
    """Grouped heads, a mask, an offset, weights: the composition has all that the fused one has."""
    tg.manual_seed(0)
    q, k, v = tg.randn(2, 4, 3, 5), tg.randn(2, 2, 7, 5), tg.randn(2, 2, 7, 6)
    mask = tg.tensor(np.random.default_rng(0).random((2, 1, 3, 7)) > 0.3)
    options = {"attn_mask": mask, "is_causal": True, "causal_offset": 4, "enable_gqa": True}
    expected = F.scaled_dot_product_attention(q, k, v, **options).array
    mine = counted(my_softmax)
    with replace("softmax", mine):
        out = F.scaled_dot_product_attention(q, k, v, **options)
        again, weights = F.scaled_dot_product_attention(q, k, v, **options, return_weights=True)
    assert mine.calls == 2
    np.testing.assert_allclose(out.array, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(again.array, out.array)
    assert weights.shape == (2, 4, 3, 7)


def test_a_students_dropout_reaches_attention_too():
    seen = []

    def drop_nothing(x, p, training):
        seen.append(x.shape)
        return x

    model = tiny_gpt(attn_pdrop=0.4, resid_pdrop=0.3, embd_pdrop=0.2).train()
    with replace("dropout", drop_nothing):
        got = loss_and_gradients(model)
    assert seen.count((2, 2, 5, 5)) == 2  # the weights of attention, of each layer
    assert seen.count((2, 5, 8)) == 1 + 2 * 2
    same(got, loss_and_gradients(model.eval()))


def test_kernels_of_plain_arrays():
    """softmax_forward and _backward, as an exercise on NumPy has them, behind the engine's op."""

    @counted
    def forward(x):
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    @counted
    def backward(dout, out):
        return out * (dout - (dout * out).sum(-1, keepdims=True))

    model = tiny_gpt()
    expected = loss_and_gradients(model)
    with replace("softmax_forward", forward), replace("kernels.softmax_backward", backward):
        got = loss_and_gradients(model)
    assert forward.calls == backward.calls == 2
    same(got, expected)


@pytest.mark.parametrize("kernel", ["gelu_forward", "layer_norm_forward", "linear_forward"])
def test_other_kernels(kernel):
    original = find(kernel).original
    mine = counted(original)
    model = tiny_gpt()
    expected = loss_and_gradients(model)
    with replace(kernel, mine):
        same(loss_and_gradients(model), expected)
    assert mine.calls > 1


def test_a_students_layer():
    class MyLayerNorm(nn.Module):
        made = 0

        def __init__(self, size, eps=1e-5):  # the engine also gives bias=True, dtype=None
            MyLayerNorm.made += 1
            self.weight, self.bias = nn.Parameter(tg.ones(size)), nn.Parameter(tg.zeros(size))
            self.eps = eps

        def forward(self, x):
            return my_layer_norm(x, None, self.weight, self.bias, self.eps)

    expected = loss_and_gradients(tiny_gpt())
    with replace("nn.LayerNorm", MyLayerNorm):
        model = tiny_gpt()
        block = nn.TransformerBlock(8, 2)  # which imported the layer by its own name
    assert MyLayerNorm.made == 5 + 2
    assert isinstance(block.norm1, MyLayerNorm)
    same(loss_and_gradients(model), expected)  # what was built within stays as it was built
    assert isinstance(tiny_gpt().transformer.ln_f, nn.LayerNorm)


def test_a_students_optimiser_and_a_bare_name():
    class Mine(optim.SGD):
        pass

    with replace("AdamW", Mine):
        from tinygrad_llm import optim as again
        from tinygrad_llm.optim.adam import AdamW

        assert again.AdamW is AdamW
        assert issubclass(AdamW, Mine)
        assert AdamW.__name__ == "Mine"
    with replace("optim.AdamW", optim.Adam):  # one of the engine's for another
        assert issubclass(optim.AdamW, optim.Adam)
    assert optim.Adam is ORIGINALS["optim", "Adam"]


def test_a_students_tokenizer():
    class Upper(tokenizers.CharTokenizer):
        def encode(self, text):
            return super().encode(text.upper())

    with replace("tokenizers.CharTokenizer", Upper):
        assert tokenizers.CharTokenizer("ABC").encode("cab") == [2, 0, 1]


def test_activations_that_models_look_up_by_name():
    mine = counted(lambda x: x * x)
    for activation, model_type in (("relu", "mlp"), ("relu", "gpt2")):
        with replace(activation, mine):
            settings = {"activation": "relu"} if model_type == "mlp" else {
                "activation_function": "relu", "n_embd": 8, "n_head": 2, "n_layer": 1,
            }  # fmt: skip
            models.build(model_type, vocab_size=11, n_positions=6, **settings).loss(IDS, TARGETS)
        assert mine.calls == 1
        mine.calls = 0


def test_it_is_taken_out_after_an_error_too():
    def divided_by_zero(x, dim):
        return x / (1 // 0)

    model = tiny_gpt()
    with pytest.raises(ZeroDivisionError), replace("softmax", divided_by_zero):
        model.loss(IDS, TARGETS)
    assert F.softmax is ORIGINALS["F", "softmax"]
    assert F.composed.softmax is not my_softmax
    assert F.scaled_dot_product_attention is ORIGINALS["F", "scaled_dot_product_attention"]


def test_one_within_the_other():
    outer, inner = counted(my_softmax), counted(my_softmax)
    model = tiny_gpt()
    with replace("softmax", outer), replace("layer_norm", my_layer_norm):
        with replace("softmax", inner):
            loss_and_gradients(model)
        assert (outer.calls, inner.calls) == (0, 2)
        loss_and_gradients(model)
    assert (outer.calls, inner.calls) == (2, 2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sofmax", "'sofmax' is no part of the engine; did you mean 'softmax'"),
        ("nn.LayerNrom", r"did you mean 'nn\.LayerNorm'"),
        ("F.sotfmax", "did you mean '.*softmax'"),
        ("softmax_forwrd", "did you mean 'softmax_forward'"),
        ("qqqqqq", "parts are in functional, nn, optim, tokenizers, kernels"),
        ("", "is no part"),
    ],
)
def test_a_name_that_is_none(name, message):
    with pytest.raises(ConfigError, match=message), replace(name, my_softmax):
        pass


def test_what_cannot_stand_for_a_part():
    with pytest.raises(ConfigError, match="5 cannot be called"), replace("softmax", 5):
        pass
    with pytest.raises(ConfigError, match="is a class, so a class must"), replace("AdamW", len):
        pass
    with pytest.raises(ConfigError, match="is a function, so a function"), replace("gelu", dict):
        pass


def test_a_function_that_returns_no_tensor_is_told_what_to_do():
    def on_arrays(x, dim):
        return np.exp(x.array) / np.exp(x.array).sum(dim, keepdims=True)

    with (
        replace("softmax", on_arrays),
        pytest.raises(TypeError, match=r"returned ndarray, not a Tensor.*softmax_forward"),
    ):
        tiny_gpt().loss(IDS, TARGETS)


def test_every_part_can_be_found_by_its_name():
    rooms = dict(zip(("F", "nn", "optim", "tokenizers"), ROOMS, strict=True))
    found = 0
    for (room, name), original in ORIGINALS.items():
        if callable(original):
            part = find(f"{rooms[room]}.{name}")
            assert (part.name, part.original) == (name, original)
            found += 1
    assert found > 80
    assert find("F.softmax") == find("functional.softmax") == find("softmax")
    assert find("softmax_forward").room == "kernels"


def test_what_is_wrong_with_the_arguments_is_pythons_own_error():
    with (
        replace("gelu", lambda x: x),  # the GPT asks for the tanh approximation, no default
        pytest.raises(TypeError, match="unexpected keyword argument 'approximate'"),
    ):
        tiny_gpt().loss(IDS, TARGETS)
