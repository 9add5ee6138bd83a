"""Rows: operations that move values about, and index them."""

import tinygrad_llm as tg
from tinygrad_llm.optable.row import Op, Sample, T, s

X = T((2, 3, 4))
LYING = T((2, 3, 4), layout="transposed")
MATRIX = T((3, 5), layout="strided")
EMPTY = T((0, 3))


def _method(name: str) -> dict:
    return {"call": getattr(tg.Tensor, name), "torch": f"torch.Tensor.{name}"}


def _diagonals() -> list[Sample]:
    samples = [s(T((4, 5))), s(LYING), s(MATRIX), s(T((0, 3))), s(T((1, 1)))]
    return samples + [s(T((3, 4)), diagonal=k) for k in (-4, -1, 0, 1, 2, 5)]


ROWS = [
    Op(
        "reshape",
        samples=[
            s(X, 6, 4),
            s(LYING, 4, -1),
            s(X, (2, 12)),
            s(T(()), 1, 1),
            s(EMPTY, 3, 0),
            s(T((1,)), ()),
            s(MATRIX, 15),
        ],
        **_method("reshape"),
    ),
    Op(
        "view",
        samples=[s(X, 6, 4), s(X, (-1,)), s(T((4, 3), layout="expanded"), 4, 3, 1), s(EMPTY, 0, 5)],
        **_method("view"),
    ),
    Op(
        "flatten",
        samples=[s(X), s(X, 1), s(LYING, 0, 1), s(T(())), s(X, start_dim=-2), s(EMPTY)],
        **_method("flatten"),
    ),
    Op(
        "unflatten",
        samples=[s(T((2, 12)), 1, (3, 4)), s(T((6, 2)), -2, (-1, 3))],
        **_method("unflatten"),
    ),
    Op(
        "permute",
        samples=[
            s(X, 2, 0, 1),
            s(X, (1, 0, 2)),
            s(LYING, -1, 0, 1),
            s(T((5,)), 0),
            s(X, dims=(2, 1, 0)),
        ],
        **_method("permute"),
    ),
    Op(
        "transpose",
        samples=[s(X, 0, 1), s(X, -1, 0), s(MATRIX, 0, 1), s(T(()), 0, 0), s(EMPTY, 0, 1)],
        **_method("transpose"),
    ),
    Op("swapaxes", samples=[s(X, 0, 2)], **_method("swapaxes")),
    Op("T", lambda x: x.T, "lambda x: x.T", [s(T((2, 3))), s(MATRIX)]),
    Op("mT", lambda x: x.mT, "lambda x: x.mT", [s(X), s(MATRIX)]),
    Op("t", samples=[s(T((2, 3))), s(T((5,)))], **_method("t")),
    Op(
        "expand",
        samples=[
            s(T((3, 1)), 3, 4),
            s(T((3,)), 2, 3),
            s(T((1, 3)), (2, -1)),
            s(T(()), 2, 3),
            s(T((1,)), 0),
            s(X, -1, 3, -1),
        ],
        **_method("expand"),
    ),
    Op("expand_as", samples=[s(T((3, 1)), T((2, 3, 4), grad=False))], **_method("expand_as")),
    Op(
        "repeat",
        samples=[
            s(T((2, 3)), 2, 3),
            s(T((3,)), 4, 2),
            s(T((2, 3)), (1, 1)),
            s(T(()), 3),
            s(T((2, 3)), 2, 0),
            s(MATRIX, 3, 2),
        ],
        **_method("repeat"),
    ),
    Op(
        "repeat_interleave",
        tg.repeat_interleave,
        "torch.repeat_interleave",
        [s(T((2, 3)), 3, dim=0), s(T((2, 3)), 2, dim=1), s(T((2, 3)), 2), s(LYING, 2, dim=-2)],
    ),
    Op(
        "flip",
        samples=[s(X, 0), s(X, 0, 2), s(X, (1,)), s(LYING, -1), s(EMPTY, 0), s(X, dims=(0, 2))],
        **_method("flip"),
    ),
    Op(
        "squeeze",
        tg.squeeze,
        "torch.squeeze",
        [
            s(X),
            s(T((3, 1, 2, 1))),
            s(T((3, 1, 2)), 1),
            s(T((3, 1, 2)), 0),
            s(T((1, 2, 1)), (0, 2)),
            s(T(()), 0),
            s(T((1, 0))),
        ],
    ),
    Op(
        "unsqueeze",
        tg.unsqueeze,
        "torch.unsqueeze",
        [s(X, 0), s(X, 2), s(X, -1), s(X, -4), s(T(()), 0), s(MATRIX, 1)],
    ),
    Op(
        "split",
        tg.split,
        "torch.split",
        [
            s(T((5, 3)), 2),
            s(X, 1, dim=1),
            s(X, [1, 3], dim=2),
            s(X, [0, 2, 1], dim=1),
            s(LYING, 3, dim=-1),
            s(EMPTY, 2),
            s(X, 7),
        ],
    ),
    Op(
        "chunk",
        tg.chunk,
        "torch.chunk",
        [
            s(T((5, 3)), 2),
            s(X, 3, dim=-1),
            s(X, 9),
            s(EMPTY, 2),
            s(T((6, 2)), 4),
            s(LYING, 2, dim=1),
        ],
    ),
    Op("unbind", tg.unbind, "torch.unbind", [s(X), s(X, 1), s(LYING, -1), s(T((3,))), s(EMPTY)]),
    Op("narrow", tg.narrow, "torch.narrow", [s(X, 1, 1, 2), s(LYING, -1, -2, 1), s(X, 2, 0, 0)]),
    Op("select", tg.select, "torch.select", [s(X, 1, 2), s(X, -1, -1), s(LYING, 0, 1)]),
    Op("tril", tg.tril, "torch.tril", [*_diagonals(), s(T((3, 3), "mask"))]),
    Op("triu", tg.triu, "torch.triu", [*_diagonals(), s(T((3, 3), "integer"))]),
    Op(
        "pad",
        lambda x, pad, value=0.0: x.pad(pad, value),
        "lambda x, pad, value=0.0: torch.nn.functional.pad(x, pad, value=value)",
        [
            s(T((2, 3)), (1, 2)),
            s(T((2, 3)), (1, 0, 2, 1), value=1.5),
            s(X, (-1, 2)),
            s(LYING, (1, -1, -1, 0)),
            s(T((2, 3)), (0, 0)),
            s(EMPTY, (1, 1)),
            s(X, ()),
        ],
    ),
    Op(
        "cat",
        tg.cat,
        "torch.cat",
        [
            s([T((2, 3)), T((4, 3))]),
            s([T((2, 3)), T((2, 1)), T((2, 4))], dim=1),
            s([X, LYING], dim=-1),
            s([T((2, 3))]),
            s([T((0, 3)), T((2, 3))]),
            s([T((2, 3)), T((2, 3), "integer")]),
        ],
    ),
    Op(
        "stack",
        tg.stack,
        "torch.stack",
        [
            s([T((2, 3)), T((2, 3))]),
            s([T((2, 3))] * 4, dim=1),
            s([T((3, 5)), MATRIX], dim=-1),
            s([T(()), T(())]),
            s([T((0, 3)), T((0, 3))], dim=2),
        ],
    ),
]
