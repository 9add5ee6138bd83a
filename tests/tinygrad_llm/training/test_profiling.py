"""The breakdown of a step by operation adds up to the step."""

import re
import time

import pytest

import tinygrad_llm as tg
import tinygrad_llm.functional as F
from tinygrad_llm.autograd import watch
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.training import profile
from tinygrad_llm.training.profiling import profile_steps


def test_it_adds_up_to_the_step(configure):
    started = time.perf_counter()
    watched = profile_steps(configure(), 4, warm_up=1)
    outside = time.perf_counter() - started
    parts = sum(row.forward + row.backward for row in watched.rows.values())
    # What no operation took is what remains: never less than nothing, nor most of the step.
    assert 0.1 * watched.seconds < parts < watched.seconds < outside
    lines = watched.table(4).splitlines()
    assert lines[0].split() == ["operation", "calls", "forward", "backward", "share"]
    shares = [float(re.search(r"([\d.]+)%$", line)[1]) for line in lines[1:-1]]
    assert sum(shares) == pytest.approx(100, abs=0.1 * len(shares))
    assert shares[:-1] == sorted(shares[:-1], reverse=True)
    milliseconds = [
        sum(float(n) for n in line[35:55].split()) for line in lines[1:]
    ]  # forward and backward
    assert sum(milliseconds[:-1]) == pytest.approx(milliseconds[-1], abs=0.02 * len(lines))
    assert lines[-1].startswith("a step, in ms")
    assert {len(line) for line in lines[:-1]} == {63}


def test_calls_are_those_of_one_step(configure):
    watched = profile_steps(configure(n_layer=2, accumulation=3), 5, warm_up=0)
    calls = {name: row["calls"] for name, row in watched.to_dict(5).items()}
    assert calls["optimiser"] == 1
    assert calls["Attention"] == 3 * 2  # batches x layers
    assert calls["LayerNorm"] == 3 * 5
    assert calls["CrossEntropy"] == 3
    assert calls["Embedding"] == 3 * 2
    for name in ("Attention", "LayerNorm", "Linear"):
        row = watched.rows[name]
        assert row.forward > 0
        assert row.backward > 0


def test_it_times_what_it_says():
    class Slow(tg.Function):
        def forward(self, x):
            time.sleep(0.02)
            return x * 1

        def backward(self, dout):
            time.sleep(0.05)
            return dout

    x = tg.ones(3, requires_grad=True)
    with profile() as watched:
        Slow.apply(Slow.apply(x)).sum().backward()
    row = watched.rows["Slow"]
    assert row.calls == 2
    assert 0.04 <= row.forward
    assert 0.1 <= row.backward
    assert row.total <= watched.seconds


def test_it_ends_with_its_block_also_after_an_error():
    with pytest.raises(IndexError, match="dim"), profile() as watched:
        F.softmax(tg.ones(2, 3), dim=5)
    assert watch.observer is None
    before = dict(watched.rows)
    F.softmax(tg.ones(2, 3), dim=1)
    assert watched.rows == before


def test_an_ngram_has_no_steps(configure):
    with pytest.raises(ConfigError, match="trained by counting"):
        profile_steps(configure("ngram"), 2)
