"""Initial values: their distribution, tested so that twice the variance or a wrong fan fails."""

import math

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import nn
from tinygrad_llm.nn import init

OUT, IN = 400, 150  # 60,000 samples: standard deviations are known to 0.3 %


def kurtosis(x):
    """3 for a normal, 1.8 for a uniform distribution."""
    centred = x - x.mean()
    return (centred**4).mean() / (centred**2).mean() ** 2


def is_uniform(x, bound):
    assert np.abs(x).max() <= bound
    assert np.abs(x).max() > 0.999 * bound
    assert abs(x.mean()) < 0.01 * bound
    assert x.std() == pytest.approx(bound / math.sqrt(3), rel=0.01)
    assert kurtosis(x) == pytest.approx(1.8, abs=0.03)


def is_normal(x, std, mean=0.0):
    assert x.mean() == pytest.approx(mean, abs=0.02 * std)
    assert x.std() == pytest.approx(std, rel=0.015)
    assert kurtosis(x) == pytest.approx(3, abs=0.15)


def weight(*shape):
    return tg.zeros(*(shape or (OUT, IN)))


def test_linear_is_uniform_within_one_over_root_fan_in():
    layer = nn.Linear(IN, OUT)
    is_uniform(layer.weight.array, 1 / math.sqrt(IN))
    bias = nn.Linear(2, 50_000).bias.array
    is_uniform(bias, 1 / math.sqrt(2))
    assert nn.Linear(0, 3).bias.array.shape == (3,)


def test_embedding_is_standard_normal_but_for_padding():
    is_normal(nn.Embedding(OUT, IN).weight.array, 1.0)
    padded = nn.Embedding(5, 3, padding_idx=-2)
    assert padded.padding_idx == 3
    assert not padded.weight.array[3].any()
    assert padded.weight.array[[0, 1, 2, 4]].all()


def test_norms_are_neutral():
    norm = nn.LayerNorm((4, 3))
    assert (norm.weight.array == 1).all()
    assert not norm.bias.array.any()
    assert (nn.RMSNorm(4).weight.array == 1).all()


FAN = {"fan_in": IN, "fan_out": OUT}


@pytest.mark.parametrize("mode", FAN)
def test_kaiming(mode):
    w = init.kaiming_normal_(weight(), mode=mode, nonlinearity="relu").array
    is_normal(w, math.sqrt(2 / FAN[mode]))
    is_uniform(init.kaiming_uniform_(weight(), mode=mode).array, math.sqrt(6 / FAN[mode]))
    # As PyTorch's Linear: a = sqrt(5) makes the bound 1 / sqrt(fan_in).
    is_uniform(init.kaiming_uniform_(weight(), math.sqrt(5)).array, 1 / math.sqrt(IN))


def test_xavier():
    is_normal(init.xavier_normal_(weight(), gain=2).array, 2 * math.sqrt(2 / (IN + OUT)))
    is_uniform(init.xavier_uniform_(weight(), gain=2).array, 2 * math.sqrt(6 / (IN + OUT)))


def test_further_axes_belong_to_both_fans():
    w = init.kaiming_normal_(weight(OUT, 30, 5), nonlinearity="linear").array
    is_normal(w, 1 / math.sqrt(30 * 5))


def test_normal_uniform_and_constants():
    is_normal(init.normal_(weight(), mean=3, std=0.02).array, 0.02, mean=3)
    values = init.uniform_(weight(), 2, 4).array
    is_uniform(values - 3, 1)
    assert (init.constant_(weight(), 0.5).array == 0.5).all()
    assert (init.ones_(weight()).array == 1).all()
    assert not init.zeros_(tg.ones(3)).array.any()
    np.testing.assert_array_equal(init.eye_(weight(3, 4)).array, np.eye(3, 4))


def test_truncated_normal_is_drawn_again_not_cut():
    w = init.trunc_normal_(weight(), mean=1, std=2, a=-1, b=4).array
    assert w.min() >= -1
    assert w.max() <= 4
    assert (w == w.max()).sum() < 5  # cutting would heap a tenth of them on the edge
    # Mean and variance of the truncated distribution, by numerical integration.
    grid = np.linspace(-1, 4, 100_001)
    density = np.exp(-0.5 * ((grid - 1) / 2) ** 2)
    mean = (grid * density).sum() / density.sum()
    assert w.mean() == pytest.approx(mean, abs=0.03)
    std = math.sqrt((grid**2 * density).sum() / density.sum() - mean**2)
    assert w.std() == pytest.approx(std, rel=0.015)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (3, 2, 4)])
def test_orthogonal(shape):
    w = init.orthogonal_(tg.zeros(*shape, dtype=tg.float64), gain=1.5).array.reshape(shape[0], -1)
    small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(small, 2.25 * np.eye(len(small)), atol=1e-12)


def test_orthogonal_takes_no_side():
    """QR alone gives diagonals of one sign; a random rotation has none preferred."""
    firsts = [init.orthogonal_(tg.zeros(3, 3)).array[0, 0] for _ in range(300)]
    assert 90 < sum(x > 0 for x in firsts) < 210


def test_in_place_in_any_dtype_and_repeatable():
    p = nn.Parameter(tg.zeros(3, 4, dtype=tg.float64))
    memory = p.array
    assert init.normal_(p) is p
    assert p.array is memory
    assert p.requires_grad
    assert len(np.unique(p.array.astype(np.float32))) == 12
    assert (p.array != p.array.astype(np.float32)).any()  # drawn in double
    for function in (init.normal_, init.kaiming_uniform_, init.trunc_normal_, init.orthogonal_):
        tg.manual_seed(5)
        first = function(weight(3, 4)).array
        second = function(weight(3, 4)).array
        tg.manual_seed(5)
        np.testing.assert_array_equal(function(weight(3, 4)).array, first)
        assert not np.array_equal(first, second)


def test_layers_are_repeatable():
    def made(seed):
        tg.manual_seed(seed)
        return nn.TransformerBlock(8, 2).state_dict()

    a, b, c = made(1), made(1), made(2)
    assert all(np.array_equal(a[n].array, b[n].array) for n in a)
    assert not np.array_equal(
        a["self_attn.q_proj.weight"].array, c["self_attn.q_proj.weight"].array
    )


def test_nothing_is_drawn_within_skip_init():
    tg.manual_seed(1)
    before = tg.rng.state.state_dict()
    with init.skip_init():
        block = nn.TransformerBlock(8, 2)
        init.orthogonal_(init.trunc_normal_(block.feed_forward.linear1.weight))
        with init.skip_init():
            pass
        embedding = nn.Embedding(3, 2)
    assert tg.rng.state.state_dict() == before
    assert not embedding.weight.array.any()
    assert not any(p.array.any() for n, p in block.named_parameters() if "norm" not in n)
    assert (block.norm1.weight.array == 1).all()  # constants are set
    assert nn.Linear(2, 3).weight.array.all()
    with pytest.raises(ZeroDivisionError), init.skip_init():
        1 / 0
    assert nn.Linear(2, 3).weight.array.all()


def test_empty_tensors():
    for function in (init.normal_, init.uniform_, init.kaiming_normal_, init.xavier_uniform_):
        assert function(weight(0, 3)).shape == (0, 3)


def test_variance_survives_ten_layers():
    """What the formulas are for: with half the gain the signal would be gone by a factor 1000."""
    x = np.random.default_rng(0).standard_normal((200, 300))
    for _ in range(10):
        w = init.kaiming_normal_(tg.zeros(300, 300, dtype=tg.float64), nonlinearity="relu").array
        x = np.maximum(x @ w.T, 0)
    assert 0.5 < (x**2).mean() < 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: init.xavier_uniform_(weight(3)), r"xavier_uniform_: shape \(3,\) has no fan"),
        (lambda: init.kaiming_normal_(weight(), mode="fan"), "mode='fan' is not known"),
        (lambda: init.kaiming_normal_(weight(), nonlinearity="rlu"), "nonlinearity='rlu'"),
        (lambda: init.normal_(weight(), std=-1), "std=-1 is negative"),
        (lambda: init.uniform_(weight(), 2, 1), "a=2 is greater than b=1"),
        (lambda: init.trunc_normal_(weight(), mean=9), "more than two standard deviations"),
        (lambda: init.trunc_normal_(weight(), std=0), "std=0 must be positive"),
        (lambda: init.eye_(weight(2, 2, 2)), "no matrix"),
        (lambda: init.orthogonal_(weight(3)), "orthogonal_"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def same_distribution(a, b):
    """Kolmogorov-Smirnov: the distance of the two distribution functions, at the 0.1 % level."""
    a, b = np.sort(a, axis=None), np.sort(b, axis=None)
    points = np.concatenate([a, b])
    distance = np.abs(
        np.searchsorted(a, points, "right") / len(a) - np.searchsorted(b, points, "right") / len(b)
    ).max()
    return distance < 1.95 * math.sqrt((len(a) + len(b)) / (len(a) * len(b)))


@pytest.mark.parity
def test_defaults_and_functions_are_distributed_as_pytorchs():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)

    def theirs(function, **options):
        return getattr(torch.nn.init, function)(torch.zeros(OUT, IN), **options).numpy()

    def ours(function, **options):
        return getattr(init, function)(weight(), **options).array

    assert same_distribution(
        nn.Linear(IN, OUT).weight.array, torch.nn.Linear(IN, OUT).weight.detach().numpy()
    )
    assert same_distribution(
        nn.Linear(3, 40_000).bias.array, torch.nn.Linear(3, 40_000).bias.detach().numpy()
    )
    assert same_distribution(
        nn.Embedding(OUT, IN).weight.array, torch.nn.Embedding(OUT, IN).weight.detach().numpy()
    )
    for function, options in [
        ("xavier_uniform_", {}),
        ("xavier_normal_", {"gain": 1.7}),
        ("kaiming_uniform_", {"a": 0.3}),
        ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}),
        ("trunc_normal_", {"std": 2.0}),
        ("normal_", {"mean": 1.0, "std": 0.3}),
        ("uniform_", {"a": -1.0, "b": 3.0}),
        ("orthogonal_", {}),
    ]:
        assert same_distribution(ours(function, **options), theirs(function, **options)), function
    assert not same_distribution(ours("normal_"), theirs("normal_", std=1.1))
    for name in ("linear", "sigmoid", "tanh", "relu", "selu", "leaky_relu"):
        assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert init.calculate_gain("leaky_relu", 0.2) == torch.nn.init.calculate_gain("leaky_relu", 0.2)
