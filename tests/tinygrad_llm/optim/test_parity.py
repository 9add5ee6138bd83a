"""Thirty steps beside PyTorch's optimisers, and its saved state in ours."""

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import nn, optim

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")

SHAPES = [(5, 3), (4,), (2, 3, 4), (1,), ()]
SETTINGS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-3}),
    ("AdamW", {"lr": 0.01}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-3}),
    ("AdamW", {"lr": 0.01, "weight_decay": 0.0}),
]


def pair(name, settings, dtype, seed=0):
    rng = np.random.default_rng(seed)
    values = [rng.standard_normal(s).astype(dtype) for s in SHAPES]
    ours = [tg.tensor(v, requires_grad=True) for v in values]
    theirs = [torch.nn.Parameter(torch.tensor(v)) for v in values]
    return (
        (ours, getattr(optim, name)(ours, **settings)),
        (theirs, getattr(torch.optim, name)(theirs, **settings)),
    )


def steps(first, second, count, seed):
    rng = np.random.default_rng(seed)
    for t in range(count):
        for p, q in zip(first[0], second[0], strict=True):
            g = (rng.standard_normal(p.shape) * 10 ** rng.uniform(-3, 0.5)).astype(p.dtype)
            p.grad, q.grad = tg.tensor(g), torch.tensor(g)
            if t % 4 == 1 and p.ndim == 1:
                p.grad = q.grad = None
        first[1].step()
        second[1].step()


def same(ours, theirs, tolerance):
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.array, q.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-13)])
def test_thirty_steps(name, settings, dtype, tolerance):
    ours, theirs = pair(name, settings, dtype)
    steps(ours, theirs, 30, seed=1)
    same(ours[0], theirs[0], tolerance)


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=str)
def test_their_saved_state_goes_on_in_ours(name, settings):
    ours, theirs = pair(name, settings, np.float64)
    steps(ours, theirs, 3, seed=1)
    fresh, _ = pair(name, settings, np.float64)
    for p, q in zip(fresh[0], theirs[0], strict=True):
        p.array[...] = q.detach().numpy()
    saved = theirs[1].state_dict()
    state = {
        index: {name: None if t is None else t.numpy() for name, t in entries.items()}
        for index, entries in saved["state"].items()
    }
    fresh[1].load_state_dict({**saved, "state": state})
    steps(fresh, theirs, 5, seed=2)
    same(fresh[0], theirs[0], 1e-12)


def test_our_saved_state_goes_on_in_theirs():
    ours, theirs = pair("AdamW", {"lr": 0.01, "weight_decay": 0.1}, np.float64)
    steps(ours, theirs, 3, seed=1)
    _, fresh = pair("AdamW", {"lr": 0.5, "weight_decay": 0.9}, np.float64)
    for p, q in zip(ours[0], fresh[0], strict=True):
        q.data = torch.tensor(p.array.copy())
    saved = ours[1].state_dict()
    their_state = fresh[1].state_dict()
    their_state["param_groups"][0].update(saved["param_groups"][0])
    their_state["state"] = {
        index: {
            "step": torch.tensor(float(entries["step"])),
            "exp_avg": torch.tensor(entries["exp_avg"].array.copy()),
            "exp_avg_sq": torch.tensor(entries["exp_avg_sq"].array.copy()),
        }
        for index, entries in saved["state"].items()
    }
    fresh[1].load_state_dict(their_state)
    steps(ours, fresh, 5, seed=2)
    same(ours[0], fresh[0], 1e-12)


def test_training_a_model_takes_the_same_way():
    """Forward, backward, groups, schedule, clipping and AdamW together, thirty steps, float64."""
    tg.manual_seed(0)
    ours = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 4)).double()
    theirs = torch.nn.Sequential(
        torch.nn.Linear(6, 16), torch.nn.GELU(), torch.nn.LayerNorm(16), torch.nn.Linear(16, 4)
    ).double()
    theirs.load_state_dict({n: torch.tensor(t.array) for n, t in ours.state_dict().items()})
    our_optimizer = optim.AdamW(optim.decay_groups(ours, 0.1), lr=0.05)
    groups = [
        {"params": [p for p in theirs.parameters() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in theirs.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    their_optimizer = torch.optim.AdamW(groups, lr=0.05)

    def rate(t):
        return optim.warmup_cosine(t, 5, 30, min_lr=0.1)

    our_scheduler = optim.LambdaLR(our_optimizer, rate)
    their_scheduler = torch.optim.lr_scheduler.LambdaLR(their_optimizer, rate)
    rng = np.random.default_rng(0)
    for _ in range(30):
        x, y = rng.standard_normal((8, 6)), rng.integers(0, 4, 8)
        our_optimizer.zero_grad()
        their_optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(ours(tg.tensor(x)), tg.tensor(y))
        expected = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y))
        assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
        loss.backward()
        expected.backward()
        optim.clip_grad_norm_(ours.parameters(), 0.5)
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        our_optimizer.step()
        their_optimizer.step()
        our_scheduler.step()
        their_scheduler.step()
    same(list(ours.parameters()), list(theirs.parameters()), 1e-9)
