"""Learning rates where mistakes show: first step, end of the warm-up, middle, last, beyond."""

import functools
import math

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import optim
from tinygrad_llm.errors import CheckpointError
from tinygrad_llm.optim import schedules


def nanogpt(it, warmup_iters, lr_decay_iters, learning_rate, min_lr):
    """get_lr as nanoGPT's train.py defines it."""
    if it < warmup_iters:
        return learning_rate * (it + 1) / (warmup_iters + 1)
    if it > lr_decay_iters:
        return min_lr
    decay_ratio = (it - warmup_iters) / (lr_decay_iters - warmup_iters)
    return min_lr + 0.5 * (1.0 + math.cos(math.pi * decay_ratio)) * (learning_rate - min_lr)


@pytest.mark.parametrize(("warmup", "total"), [(0, 50), (7, 40), (100, 2000)])
def test_warmup_cosine_is_nanogpts(warmup, total):
    for step in [*range(0, total + 20, 3), warmup - 1, warmup, warmup + 1, total - 1, total]:
        if step >= 0:
            assert optim.warmup_cosine(step, warmup, total, lr=6e-4, min_lr=6e-5) == pytest.approx(
                nanogpt(step, warmup, total, 6e-4, 6e-5), rel=1e-12
            )


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (functools.partial(optim.constant, lr=2.0), {0: 2, 99: 2}),
        (functools.partial(optim.constant, lr=2.0, warmup_steps=3), {0: 0.5, 2: 1.5, 3: 2, 9: 2}),
        (
            functools.partial(optim.warmup_linear, warmup_steps=3, total_steps=13, lr=2, min_lr=1),
            {0: 0.5, 2: 1.5, 3: 2, 8: 1.5, 12: 1.1, 13: 1, 99: 1},
        ),
        (
            functools.partial(optim.warmup_cosine, warmup_steps=4, total_steps=10, lr=1, min_lr=0),
            {0: 0.2, 3: 0.8, 4: 1, 6: 0.75, 7: 0.5, 8: 0.25, 10: 0, 11: 0},
        ),
        (
            functools.partial(
                optim.warmup_stable_decay, warmup_steps=1, total_steps=20, decay_steps=8, lr=4
            ),
            {0: 2, 1: 4, 11: 4, 12: 4, 14: 3, 16: 2, 19: 0.5, 20: 0, 30: 0},
        ),
        (
            functools.partial(optim.inverse_square_root, warmup_steps=4, lr=3),
            {0: 0.75, 2: 2.25, 3: 3, 15: 1.5, 35: 1},
        ),
        (
            functools.partial(optim.noam, dim=64, warmup_steps=16),
            {0: 1 / 8 / 64, 3: 4 / 8 / 64, 15: 1 / 32, 63: 1 / 64},
        ),
        (
            functools.partial(optim.step_decay, step_size=3, gamma=0.5, lr=8),
            {0: 8, 2: 8, 3: 4, 5: 4, 6: 2},
        ),
        (functools.partial(optim.exponential, gamma=0.5, lr=8), {0: 8, 1: 4, 3: 1}),
    ],
    ids=lambda x: x.func.__name__ if callable(x) else "",
)
def test_values(schedule, values):
    for step, value in values.items():
        assert schedule(step) == pytest.approx(value, rel=1e-12), step


@pytest.mark.parametrize("name", ["constant", "linear", "cosine", "wsd", "inverse-sqrt"])
def test_by_name_for_a_run(name):
    rates = [
        optim.learning_rate(name, t, peak=1e-3, lowest=1e-5, warmup_steps=10, steps=100)
        for t in range(101)
    ]
    assert rates[0] == pytest.approx(1e-3 / (10 if name == "inverse-sqrt" else 11))
    assert max(rates) == pytest.approx(1e-3)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    if name in ("linear", "cosine", "wsd"):
        assert rates[100] == pytest.approx(1e-5)
        assert 1e-5 < rates[99] < 7e-5
    assert (rates[79] == rates[10]) == (name in ("constant", "wsd"))
    assert min(rates) > 0


def test_by_name_unknown():
    with pytest.raises(ValueError, match="schedule='cosin' is not known; use 'constant'"):
        optim.learning_rate("cosin", 0, peak=1, steps=10)


def test_a_warmup_as_long_as_the_run_does_not_divide_by_zero():
    for schedule in (optim.warmup_cosine, optim.warmup_linear):
        assert schedule(9, 10, 10) == pytest.approx(10 / 11)
        assert schedule(10, 10, 10, min_lr=0.1) == 0.1
        assert schedule(3, 10, 5) == pytest.approx(4 / 11)
    assert optim.inverse_square_root(0, 0) == 1.0
    assert optim.noam(0, 4, 0) == 0.5


@pytest.mark.parametrize(("step", "warmup_steps"), [(-1, 5), (3, -5)])
def test_negative_counts_are_refused(step, warmup_steps):
    for schedule, more in (
        (optim.warmup_cosine, {"total_steps": 10}),
        (optim.warmup_linear, {"total_steps": 10}),
        (optim.noam, {"dim": 8}),
        (optim.inverse_square_root, {}),
        (optim.constant, {}),
    ):
        with pytest.raises(ValueError, match=r"(step|warmup_steps)=-\d must be"):
            schedule(step, warmup_steps=warmup_steps, **more)
    with pytest.raises(ValueError, match="step_size=0"):
        optim.step_decay(1, 0)


def test_the_table_holds_the_functions_by_their_names():
    assert optim.SCHEDULES["noam"] is optim.noam
    assert all(name == function.__name__ for name, function in schedules.SCHEDULES.items())


# -- the scheduler --


def optimizer(*rates):
    return optim.SGD([{"params": [tg.ones(2, requires_grad=True)], "lr": lr} for lr in rates])


def test_scheduler_multiplies_each_groups_own_rate():
    sgd = optimizer(1.0, 10.0)
    scheduler = optim.LambdaLR(sgd, lambda t: 1 / (t + 1))
    seen = []
    for _ in range(3):
        seen.append([g["lr"] for g in sgd.param_groups])
        assert scheduler.get_last_lr() == seen[-1]
        sgd.step()
        scheduler.step()
    np.testing.assert_allclose(seen, [[1, 10], [1 / 2, 5], [1 / 3, 10 / 3]])


def test_scheduler_takes_a_function_for_each_group():
    sgd = optimizer(1.0, 1.0)
    optim.LambdaLR(sgd, [lambda t: 2.0, lambda t: 3.0])
    assert [g["lr"] for g in sgd.param_groups] == [2, 3]
    with pytest.raises(ValueError, match="1 functions for 2 groups"):
        optim.LambdaLR(sgd, [lambda t: 2.0])
    with pytest.raises(TypeError, match="expected an Optimizer, not int"):
        optim.LRScheduler(3)


def test_a_restored_scheduler_goes_on_and_sets_the_rate_at_once():
    schedule = functools.partial(optim.warmup_cosine, warmup_steps=3, total_steps=20)
    first = optimizer(0.5)
    scheduler = optim.LambdaLR(first, schedule)
    for _ in range(6):
        scheduler.step()
    second = optimizer(0.1)
    other = optim.LambdaLR(second, schedule)
    other.load_state_dict(scheduler.state_dict())
    assert second.param_groups[0]["lr"] == first.param_groups[0]["lr"] == 0.5 * schedule(6)
    scheduler.step()
    other.step()
    assert other.get_last_lr() == scheduler.get_last_lr() == [0.5 * schedule(7)]


def test_a_state_that_does_not_fit_the_scheduler():
    scheduler = optim.LambdaLR(optimizer(0.5), lambda t: 1.0)
    with pytest.raises(CheckpointError, match="2 groups were saved, the optimiser has 1"):
        scheduler.load_state_dict({"last_epoch": 3, "base_lrs": [1, 2]})
    with pytest.raises(CheckpointError, match="'last_epoch'"):
        scheduler.load_state_dict({"base_lrs": [1]})
    assert scheduler.last_epoch == 0


def test_a_second_scheduler_starts_from_the_first_rates():
    sgd = optimizer(1.0)
    optim.LambdaLR(sgd, lambda t: 0.1)
    assert optim.LambdaLR(sgd, lambda t: 0.5).get_last_lr() == [0.5]


@pytest.mark.parity
def test_scheduler_is_pytorchs():
    torch = pytest.importorskip("torch")
    schedule = functools.partial(optim.warmup_cosine, warmup_steps=3, total_steps=20)
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.3)
    their_scheduler = torch.optim.lr_scheduler.LambdaLR(theirs, schedule)
    ours = optimizer(0.3)
    our_scheduler = optim.LambdaLR(ours, schedule)
    for _ in range(25):
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"])
        assert our_scheduler.last_epoch == their_scheduler.last_epoch
        theirs.step()
        their_scheduler.step()
        our_scheduler.step()
