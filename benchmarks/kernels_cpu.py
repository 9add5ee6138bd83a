"""Each kernel's time: ours (Numba), the NumPy formula, PyTorch eager, from tiny to large.

    python benchmarks/kernels_cpu.py         # a few minutes; writes results/kernels_cpu.json
    python benchmarks/kernels_cpu.py gelu    # these operations only, and nothing is written

Every case is checked first: ours must agree with the formula in float64. The three then take turns,
and each turn gets other arrays of the same shape, so that nobody finds its input in the cache by
chance. "least" is what the code costs when nothing disturbs it, "median" what a run feels.
"""

import argparse
import functools
import importlib
import itertools
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from machine import machine_card

from tinygrad_llm.files import write_json
from tinygrad_llm.kernels import _threads

RESULTS = Path(__file__).parent / "results" / "kernels_cpu.json"
SETS = 4  # sets of arrays that the turns go through
PAUSE = 0.003  # seconds: threads of the one before, which wait by spinning, have gone to sleep
TURN = 3e-4  # seconds that a turn takes at least: tiny calls are repeated
aten: Any = torch.ops.aten
Case = tuple[str, str, Callable[[np.random.Generator], list[Any]], Callable[..., Any]]


def normal(*shapes):
    return lambda random: [random.standard_normal(s, dtype=np.float32) for s in shapes]


def cases():
    """(operation, kernel, label, arrays of one set, further arguments of ours, PyTorch's call)."""
    for shape in ((8, 64), (768, 128), (768, 512), (1024, 1536), (2048, 3072)):
        both = normal(shape, shape)
        yield (
            "gelu",
            "gelu_forward",
            shape,
            normal(shape),
            ("tanh",),
            lambda x: F.gelu(x, approximate="tanh"),
        )
        yield (
            "gelu",
            "gelu_backward",
            shape,
            both,
            ("tanh",),
            lambda d, x: aten.gelu_backward(d, x, approximate="tanh"),
        )
        yield "gelu", "gelu_forward", (*shape, "exact"), normal(shape), ("none",), F.gelu
        yield "gelu", "swiglu_forward", shape, both, (), lambda g, u: F.silu(g) * u
        yield (
            "dropout",
            "dropout_forward",
            shape,
            normal(shape),
            (0.1, 1, 2),
            lambda x: F.dropout(x, 0.1),
        )
    for shape in ((8, 16), (768, 64), (3072, 256), (2048, 1024), (256, 50257)):
        yield "softmax", "softmax_forward", shape, normal(shape), (), lambda x: F.softmax(x, -1)
        yield (
            "softmax",
            "softmax_backward",
            shape,
            normal(shape, shape),
            (),
            lambda d, o: aten._softmax_backward_data(d, o, -1, torch.float32),
        )
        yield (
            "softmax",
            "log_softmax_forward",
            shape,
            normal(shape),
            (),
            lambda x: F.log_softmax(x, -1),
        )
    for rows, columns in ((8, 64), (768, 128), (1024, 384), (2048, 768)):
        shape, vector = (rows, columns), (columns,)
        yield (
            "layer_norm",
            "layer_norm_forward",
            shape,
            normal(shape, vector, vector),
            (),
            (lambda x, w, b: F.layer_norm(x, w.shape, w, b)),
        )
        yield (
            "layer_norm",
            "layer_norm_backward",
            shape,
            with_moments(shape),
            (),
            (
                lambda d, x, w, m, r: aten.native_layer_norm_backward(
                    d, x, w.shape, m[:, None], r[:, None], w, w, [True, True, True]
                )
            ),
        )
        yield (
            "layer_norm",
            "rms_norm_forward",
            shape,
            normal(shape, vector),
            (),
            (lambda x, w: F.rms_norm(x, w.shape, w, 1e-6)),
        )
    for rows, classes in ((12, 65), (768, 65), (1024, 1000), (256, 50257), (1024, 50257)):
        yield (
            "cross_entropy",
            "cross_entropy_forward",
            (rows, classes),
            labelled(rows, classes),
            (),
            lambda x, y: F.cross_entropy(x, y, reduction="none"),
        )
        yield (
            "cross_entropy",
            "cross_entropy_backward",
            (rows, classes),
            with_sums(rows, classes),
            (),
            None,
        )
    for size in (1 << 10, 1 << 16, 1 << 20, 1 << 24):
        yield (
            "adamw",
            "adamw_step",
            (size,),
            optimiser(size),
            (3, 1e-3, 0.9, 0.95, 1e-8, 0.1),
            (fused_adamw),
        )
        yield (
            "adamw",
            "grad_norm",
            (size,),
            lambda random, n=size: [normal((n,))(random)],
            (),
            (lambda gs: torch.nn.utils.get_total_norm(gs)),
        )
    for rows, vocabulary, columns in ((12, 65, 64), (768, 65, 128), (2048, 50257, 768)):
        yield "embedding", "embedding_backward", (rows, vocabulary, columns), (
            lambda random, r=rows, v=vocabulary, c=columns: [
                *normal((r, c))(random), random.integers(0, v, r), v,
            ]
        ), (), lambda d, i, v: aten.embedding_dense_backward(d, i, v, -1, False)  # fmt: skip
    for rows, k, n in ((8, 64, 64), (768, 128, 512), (1024, 384, 1536), (256, 768, 3072)):
        yield (
            "matmul",
            "linear_forward",
            (rows, k, n),
            normal((rows, k), (n, k), (n,)),
            (),
            (F.linear),
        )
        yield (
            "matmul",
            "linear_backward",
            (rows, k, n),
            normal((rows, n), (rows, k), (n, k)),
            (),
            (lambda d, x, w: (d @ w, d.T @ x, d.sum(0))),
        )
    for size in (
        (2, 2, 8, 16),
        (12, 4, 64, 32),
        (4, 6, 256, 64),
        (1, 12, 512, 64),
        (1, 12, 1024, 64),
    ):
        yield (
            "attention",
            "attention_forward",
            size,
            normal(size, size, size),
            (None, True),
            (lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)),
        )
        yield (
            "attention",
            "attention_backward",
            size,
            attended(size),
            (None, True),
            (
                lambda d, q, k, v, o, lse: (
                    aten._scaled_dot_product_flash_attention_for_cpu_backward(
                        d, q, k, v, o, lse, 0.0, True
                    )
                )
            ),
        )


def with_moments(shape):
    def make(random):
        d, x, w = normal(shape, shape, shape[1:])(random)
        _, m, r = spelling("layer_norm", "reference").layer_norm_forward(x, w, w)
        return [d, x, w, m, r]

    return make


def labelled(rows, classes):
    return lambda random: [*normal((rows, classes))(random), random.integers(0, classes, rows)]


def with_sums(rows, classes):
    def make(random):
        x, y = labelled(rows, classes)(random)
        _, lse = spelling("cross_entropy", "reference").cross_entropy_forward(x, y)
        return [np.full(rows, 1 / rows, np.float32), x, y, lse]

    return make


def optimiser(size):
    def make(random):
        p, g, m, v = normal(*[(size,)] * 4)(random)
        return [p, g, m, v * v]

    return make


def fused_adamw(p, g, m, v):
    step = torch.tensor(3.0)
    torch._fused_adamw_(
        [p], [g], [m], [v], [], [step], lr=1e-3, beta1=0.9, beta2=0.95, weight_decay=0.1, eps=1e-8,
        amsgrad=False, maximize=False,
    )  # fmt: skip


def attended(size):
    def make(random):
        d, q, k, v = normal(*[size] * 4)(random)
        out, lse = spelling("attention", "reference").attention_forward(q, k, v, None, True)
        return [d, q, k, v, out, lse]

    return make


def spelling(operation, which):
    return importlib.import_module(f"tinygrad_llm.kernels.{operation}.{which}")


def converted(value, how):
    if isinstance(value, list):
        return [converted(v, how) for v in value]
    return how(value) if isinstance(value, np.ndarray) else value


def check(operation, kernel, arrays, extra):
    """Ours in float32 against the formula in float64, on this very case."""
    first = converted(arrays, np.copy)
    double = converted(
        arrays, lambda a: a.astype(np.float64) if a.dtype == np.float32 else a.copy()
    )
    ours = getattr(spelling(operation, "cpu"), kernel)(*first, *extra)
    truth = getattr(spelling(operation, "reference"), kernel)(*double, *extra)
    if ours is None:  # in place
        ours, truth = first[0], double[0]
    pairs = zip(ours, truth, strict=True) if isinstance(ours, tuple) else [(ours, truth)]
    for a, b in pairs:
        if a is not None:
            size = np.abs(b).max()
            assert np.abs(a - b).max() <= 1e-4 * (1 + size), (operation, kernel)


def measure(operation, kernel, make, extra, peer, seconds):
    random = np.random.default_rng(0)
    sets = [make(random) for _ in range(SETS)]
    check(operation, kernel, sets[0], extra)
    runs = {}
    for name, which in (("ours", "cpu"), ("numpy", "reference")):
        function = getattr(spelling(operation, which), kernel)
        copies = converted(sets, np.copy)
        runs[name] = [functools.partial(function, *arrays, *extra) for arrays in copies]
    if peer is not None:
        tensors = converted(sets, lambda a: torch.from_numpy(a.copy()))
        runs["torch"] = [functools.partial(peer, *t) for t in tensors]
    times = {name: [] for name in runs}
    with torch.no_grad():
        for calls in runs.values():
            for call in calls:
                call()
        started = time.perf_counter()
        runs["ours"][0]()
        repeats = max(1, round(TURN / (time.perf_counter() - started)))
        end = time.perf_counter() + seconds
        for turn in itertools.count():
            if turn >= 12 and time.perf_counter() > end:
                break
            for name, calls in runs.items():
                call = calls[turn % SETS]
                time.sleep(PAUSE)
                started = time.perf_counter()
                for _ in range(repeats):
                    call()
                times[name].append((time.perf_counter() - started) / repeats)
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("only", nargs="*", help="operations; default: all, and write the results")
    parser.add_argument("--threads", type=int, default=_threads.get_num_threads())
    parser.add_argument("--seconds", type=float, default=1.0, help="per case")
    arguments = parser.parse_args()
    _threads.set_num_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    rows = []
    for operation, kernel, label, make, extra, peer in cases():
        if arguments.only and operation not in arguments.only:
            continue
        times = measure(operation, kernel, make, extra, peer, arguments.seconds)
        row = {"kernel": kernel, "size": " x ".join(map(str, label))}
        for name, values in times.items():
            row[name] = {
                "least_us": round(min(values) * 1e6, 1),
                "median_us": round(statistics.median(values) * 1e6, 1),
            }
        rows.append(row)
        line = f"{kernel:22} {row['size']:>18}: {row['ours']['least_us']:9.1f} us"
        for name in times:
            if name != "ours":
                least, median = (row[name][k] / row["ours"][k] for k in ("least_us", "median_us"))
                line += f"   {name} {least:5.2f}x ({median:.2f}x by median)"
        print(line, flush=True)
    if not arguments.only:
        card = machine_card("numba", "torch")
        # Threads that wanted to run: with more than there are cores, compare but do not quote.
        card["load"] = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
        write_json(RESULTS, {"threads": arguments.threads, "rows": rows, "machine": card})


if __name__ == "__main__":
    main()
