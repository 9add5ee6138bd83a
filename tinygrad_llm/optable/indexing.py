"""Rows: picking elements by index, and writing them."""

import tinygrad_llm as tg
from tinygrad_llm.optable.row import Op, T, s

X = T((2, 3, 4))
LYING = T((2, 3, 4), layout="transposed")
MATRIX = T((3, 5), layout="strided")


def _at(high: int, *shape: int) -> T:
    """Indices below `high`."""
    return T(shape, "index", high)


def _mask(*shape: int) -> T:
    return T(shape, "mask")


def _set(x: tg.Tensor, index: object, value: object) -> tg.Tensor:
    x[index] = value
    return x


ROWS = [
    Op(
        "gather",
        tg.gather,
        "torch.gather",
        [
            s(X, 0, _at(2, 2, 3, 4)),
            s(X, 1, _at(3, 2, 5, 4)),
            s(LYING, -1, _at(4, 2, 3, 1)),
            s(X, 2, _at(4, 1, 2, 3)),
            s(T(()), 0, _at(1)),
            s(X, 1, _at(3, 2, 0, 4)),
        ],
    ),
    Op(
        "take_along_dim",
        tg.take_along_dim,
        "torch.take_along_dim",
        [
            s(X, _at(3, 2, 3, 4), dim=1),
            s(X, _at(4, 1, 3, 2), dim=2),
            s(T((1, 3, 4)), _at(3, 2, 1, 4), dim=1),
            s(X, _at(24, 3, 2)),
        ],
    ),
    Op(
        "scatter_add",
        tg.scatter_add,
        "torch.scatter_add",
        [
            s(X, 0, _at(2, 2, 3, 4), X),
            s(X, 1, _at(3, 2, 2, 3), T((2, 3, 4), grad=False)),
            s(T((5,)), 0, _at(5, 9), T((9,))),
            s(T(()), 0, _at(1), T(())),
        ],
    ),
    Op(
        "index_select",
        tg.index_select,
        "torch.index_select",
        [s(X, 0, _at(2, 5)), s(LYING, -1, _at(4, 3)), s(X, 1, _at(3, 0))],
    ),
    Op(
        "masked_fill",
        tg.masked_fill,
        "torch.masked_fill",
        [
            s(X, _mask(2, 3, 4), 0.5),
            s(X, _mask(3, 1), -1.0),
            s(T((3,)), _mask(2, 3), 2),
            s(LYING, _mask(2, 3, 4), T(())),
            s(T((2, 3), "integer"), _mask(3), 7),
            s(T(()), _mask(), 1.0),
        ],
    ),
    Op(
        "masked_select",
        tg.masked_select,
        "torch.masked_select",
        [s(X, _mask(2, 3, 4)), s(LYING, _mask(4)), s(T((3,)), _mask(2, 3))],
    ),
    Op(
        "nonzero",
        tg.nonzero,
        "torch.nonzero",
        [s(T((3, 4), "ties")), s(_mask(5))],
        differentiable=False,
    ),
    Op(
        "getitem",
        lambda x, *index: x[index if len(index) > 1 else index[0]],
        "lambda x, *index: x[index if len(index) > 1 else index[0]]",
        [
            s(X, 1),
            s(X, -1, 2),
            s(X, slice(1, None)),
            s(X, slice(None), slice(0, 3, 2)),
            s(X, None, 1),
            s(X, Ellipsis, 0),
            s(X, 0, Ellipsis, slice(1, 3)),
            s(X, 1, 2, 3),
            s(LYING, slice(None), 1),
            s(X, _at(2, 5)),
            s(X, _at(2, 2, 2)),
            s(X, slice(None), _at(3, 4)),
            s(X, _at(2, 3), _at(3, 3)),
            s(X, _at(2, 2, 1), _at(3, 3)),
            s(X, _at(2, 3), slice(None), _at(4, 3)),
            s(X, 1, slice(None), _at(4, 3)),
            s(X, 0, _at(3, 3)),
            s(X, _mask(2, 3, 4)),
            s(X, _mask(2)),
            s(X, slice(None), _mask(3)),
            s(X, _mask(2, 3), 1),
            s(MATRIX, _at(3)),
            s(X, None, _at(2, 4), None, slice(1, 2)),
            s(T((5,)), 2),
            s(T((0, 3)), slice(0, 0)),
            s(X, _at(2, 0)),
            s(X, slice(5, 9)),
            s(X, Ellipsis),
        ],
    ),
    Op(
        "setitem",
        lambda x, index, value: _set(x.clone(), index, value),
        "lambda x, index, value: (lambda y: (y.__setitem__(index, value), y)[1])(x.clone())",
        [
            s(X, 1, T((3, 4))),
            s(X, (slice(None), 1), T((4,))),
            s(X, (Ellipsis, 0), T((2, 1))),
            s(X, slice(None, None, 2), 1.5),
            s(X, (1, 2, 3), T(())),
            s(X, _mask(2, 3, 4), 0.5),
            s(X, _mask(2, 3), T((4,))),
            s(T((5, 3)), [4, 0], T((2, 3))),
            s(X, 0, T((1, 3, 1))),
            s(X, (0, slice(None), [3, 1]), T((3, 2))),
        ],
    ),
]
