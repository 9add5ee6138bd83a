"""Rows: reductions and orderings."""

import math

import tinygrad_llm as tg
from tinygrad_llm.optable.row import Op, Sample, T, kink, reduction, s

X = T((2, 3, 4))
APART = T((2, 3, 4), "apart")


def _several(samples: list[Sample]) -> list[Sample]:
    """Without those of one value, whose unbiased variance is nan."""
    return [x for x in samples if x.args[0].shape not in ((3, 1), ())]


ROWS = [
    Op(
        "sum",
        tg.sum,
        "torch.sum",
        [
            *reduction(),
            s(T((0, 3)), dim=0),
            s(T((0, 3))),
            s(T((2, 3), "integer")),
            s(T((2, 3), "mask"), dim=0),
            s(X, dim=[0, 1]),
            s(X, dim=()),
        ],
    ),
    Op("mean", tg.mean, "torch.mean", [*reduction(), kink(T((0, 3)), dim=0)]),
    Op(
        "var",
        tg.var,
        "torch.var",
        [
            *_several(reduction()),
            *reduction(correction=0),
            kink(T((3, 1)), dim=1),
            kink(T(())),
            kink(T((0, 3)), dim=0),
            s(X, dim=1, correction=2),
            s(X, dim=2, unbiased=False),
            s(X, False),
        ],
        roundings=8,
    ),
    Op(
        "std",
        tg.std,
        "torch.std",
        [
            *_several(reduction()),
            s(X, dim=(0, 1), correction=0),
            s(X, False),
            kink(T((3, 1)), dim=1),
            kink(T((3, 1)), dim=1, correction=0),
        ],
        roundings=16,
    ),
    Op(
        "norm",
        tg.norm,
        "torch.norm",
        [
            *[x for x in reduction() if x.args[0].shape],
            s(X, 1),
            s(X, 1, dim=1),
            s(APART, math.inf, dim=1),
            s(T((3, 4), "positive"), 3, dim=0),
        ],
        roundings=16,
    ),
    Op(
        "amax",
        tg.amax,
        "torch.amax",
        [*reduction("apart"), kink(T((3, 4), "ties"), dim=1), kink(T((3, 4), "ties"))],
    ),
    Op(
        "amin",
        tg.amin,
        "torch.amin",
        [*reduction("apart"), kink(T((3, 4), "ties"), dim=1), kink(T((3, 4), "ties"))],
    ),
    Op(
        "max",
        tg.max,
        "torch.max",
        [
            *reduction("apart", dims=False),
            s(X, T((3, 4))),
            kink(T((3, 4), "ties"), dim=0),
            kink(T((3, 4), "ties")),
            kink(T((4, 3), layout="expanded"), dim=0),
        ],
    ),
    Op(
        "min",
        tg.min,
        "torch.min",
        [
            *reduction("apart", dims=False),
            s(X, T((3, 4))),
            kink(T((3, 4), "ties"), dim=0),
            kink(T((3, 4), "ties")),
            kink(T((4, 3), layout="expanded"), dim=0),
        ],
    ),
    *[
        Op(
            name,
            getattr(tg, name),
            f"torch.{name}",
            [
                *reduction("apart", dims=False),
                s(T((3, 4), "ties"), dim=1),
                s(T((2, 3), "integer")),
            ],
            differentiable=False,
        )
        for name in ("argmax", "argmin")
    ],
    Op(
        "logsumexp",
        tg.logsumexp,
        "torch.logsumexp",
        [x for x in reduction() if "dim" in x.kwargs] + [kink(T((2, 0)), dim=1)],
        roundings=8,
    ),
    Op(
        "cumsum",
        tg.cumsum,
        "torch.cumsum",
        [
            s(X, dim=0),
            s(X, dim=1),
            s(X, dim=-1),
            s(T((2, 3, 4), layout="transposed"), dim=1),
            s(T((3, 5), layout="strided"), dim=1),
            s(T(()), dim=0),
            s(T((1,)), dim=0),
            s(T((0, 3)), dim=0),
            s(T((2, 3), "integer"), dim=1),
            s(T((2, 3), "mask"), dim=1),
        ],
    ),
    *[
        Op(
            name,
            getattr(tg, name),
            f"torch.{name}",
            [
                s(T((2, 3), "mask")),
                s(T((2, 3), "mask"), dim=1),
                s(T((2, 3), "ties"), dim=0, keepdim=True),
                s(T((0, 3), "mask"), dim=0),
                s(T((), "mask")),
            ],
            differentiable=False,
        )
        for name in ("any", "all")
    ],
    Op(
        "sort",
        tg.sort,
        "torch.sort",
        [
            s(APART),
            s(APART, dim=0, descending=True),
            s(APART, dim=1),
            s(T((3, 5), "apart", layout="strided"), descending=True),
            s(T((), "apart")),
            s(T((0, 3), "apart"), dim=0),
            s(T((2, 3), "integer"), stable=True),
            kink(T((3, 7), "ties"), stable=True),
            kink(T((3, 7), "ties"), stable=True, descending=True),
        ],
    ),
    Op(
        "argsort",
        tg.argsort,
        "torch.argsort",
        [s(APART), s(APART, dim=1, descending=True), s(T((3, 7), "ties"), stable=True)],
        differentiable=False,
    ),
    Op(
        "topk",
        tg.topk,
        "torch.topk",
        [
            s(APART, 2),
            s(APART, 3, dim=1),
            s(APART, 2, dim=0, largest=False),
            s(T((3, 40), "apart"), 2),
            s(T((3, 40), "apart"), 3, largest=False),
            s(T((40, 3), "apart"), 4, dim=0),
            s(T((), "apart"), 1),
            s(APART, 0),
            s(T((4, 3), "apart", layout="expanded"), 2),
        ],
    ),
]
