"""What the engine itself costs per operation: tiny tensors, ours beside PyTorch eager.

    python benchmarks/overhead.py            # about a minute; writes results/overhead.json
    python benchmarks/overhead.py --table    # and every row of the op table, forward

On 4 x 5 matrices the arithmetic takes next to no time: what is left is the Python of an operation,
its place in the graph, its dispatch, and the walk back. Both engines use one thread and are timed
in turns, in slices of a few milliseconds; the median over all slices is what a run feels, the
least is what the code costs when nothing else disturbs it.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import machine_card

import tinygrad_llm as tg
from tinygrad_llm.files import write_json
from tinygrad_llm.optable import OPS, Op

RESULTS = Path(__file__).parent / "results" / "overhead.json"
DEPTH = 20  # operations in a chain


def _views(x: Any) -> Any:
    return x.reshape(2, 10).transpose(0, 1)[2:8].unsqueeze(0)


def _chain(step: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def run(x: Any, y: Any) -> Any:
        for _ in range(DEPTH):
            x = step(x, y)
        return x

    return run


# name: (operations in it, what runs on x, y: (4, 5) and w: (5, 5))
CASES: dict[str, tuple[int, Callable[[Any, Any, Any], Any]]] = {
    "add": (1, lambda x, y, w: x + y),
    "mul": (1, lambda x, y, w: x * y),
    "mul by a number": (1, lambda x, y, w: x * 2.0),
    "broadcast add": (1, lambda x, y, w: x + w[0]),
    "exp": (1, lambda x, y, w: x.exp()),
    "matmul": (1, lambda x, y, w: x @ w),
    "sum": (1, lambda x, y, w: x.sum()),
    "sum over a dim": (1, lambda x, y, w: x.sum(1)),
    "mean": (1, lambda x, y, w: x.mean()),
    "four views": (4, lambda x, y, w: _views(x)),
    f"chain of {DEPTH} mul": (DEPTH, lambda x, y, w: _chain(lambda a, b: a * b)(x, y)),
    f"chain of {DEPTH} matmul": (DEPTH, lambda x, y, w: _chain(lambda a, b: a @ b)(x, w)),
    f"{DEPTH} residuals": (2 * DEPTH, lambda x, y, w: _chain(lambda a, b: a + a * b)(x, y)),
}


def _forward(run: Callable[..., Any], tensors: list[Any]) -> Callable[[], Any]:
    return lambda: run(*tensors)


def _both(run: Callable[..., Any], tensors: list[Any]) -> Callable[[], Any]:
    def step() -> None:
        for t in tensors:
            t.grad = None
        run(*tensors).sum().backward()

    return step


def _row(op: Op, library: Any) -> Callable[[], Any]:
    """One call of an operation of the op table, on its first sample."""
    sample = op.samples[0]
    arrays = sample.arrays(dtype="float32")
    if library is torch:
        function = eval(op.torch, {"torch": torch})
        values = [torch.tensor(array) for array in arrays]
    else:
        function, values = op.call, [tg.Tensor(array) for array in arrays]
    for spec, value in zip(sample.tensors(), values, strict=True):
        value.requires_grad = op.differentiable and spec.floating and spec.grad
    return lambda: sample.call(function, values)


def _slice(step: Callable[[], Any], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count


def compare(ours: Callable[[], Any], theirs: Callable[[], Any], seconds: float) -> dict[str, float]:
    """Microseconds a call, ours and PyTorch's, in turns for `seconds`."""
    count = max(1, int(2e-3 / max(_slice(ours, 3), _slice(theirs, 3))))
    mine, peers = [], []
    gc.collect()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(mine) < 5:
        mine.append(_slice(ours, count))
        peers.append(_slice(theirs, count))
    pairs = {"ours": mine, "pytorch": peers}
    result = {f"{name}_median": statistics.median(t) * 1e6 for name, t in pairs.items()}
    result |= {f"{name}_least": min(t) * 1e6 for name, t in pairs.items()}
    # Neighbouring slices saw the same machine: the median of their ratios is the steadiest number.
    result["ratio"] = statistics.median(a / b for a, b in zip(mine, peers, strict=True))
    return {name: round(value, 3) for name, value in result.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each case (default 1)")
    parser.add_argument("--table", action="store_true", help="also every row of the op table")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tg.manual_seed(0)
    shapes = [(4, 5), (4, 5), (5, 5)]
    ours = [tg.randn(shape, requires_grad=True) for shape in shapes]
    theirs = [torch.tensor(t.tolist(), requires_grad=True) for t in ours]
    rows = []
    print(f"{'':22s}{'':10s}{'ours':>9s}{'PyTorch':>9s}  us, median   ratio")
    for name, (operations, run) in CASES.items():
        for way, make in (("forward", _forward), ("both", _both)):
            found = compare(make(run, ours), make(run, theirs), options.seconds)
            rows.append({"case": name, "operations": operations, "way": way, **found})
            print(
                f"{name:22s}{way:10s}{found['ours_median']:9.2f}{found['pytorch_median']:9.2f}"
                f"{'':14s}{found['ratio']:6.2f}"
            )
    summary = {
        way: round(statistics.geometric_mean(r["ratio"] for r in rows if r["way"] == way), 3)
        for way in ("forward", "both")
    }
    print(f"geometric mean of the ratios: {summary} (below 1: cheaper than PyTorch eager)")
    result = {"machine": machine_card("torch"), "threads": 1, "summary": summary, "rows": rows}
    if options.table:
        result["table"] = {}
        for op in OPS.values():
            found = compare(_row(op, tg), _row(op, torch), options.seconds / 10)
            result["table"][op.name] = found
            print(f"{op.name:40s}{found['ours_median']:9.2f}{found['pytorch_median']:9.2f}")
    write_json(options.output, result)


if __name__ == "__main__":
    main()
