"""Rows: operations element by element, comparisons, and matrix products."""

import tinygrad_llm as tg
from tinygrad_llm.optable.row import PAIRS, Op, T, binary, kink, s, unary

X = T((2, 3, 4))
ROW = T((4,))


def _numbers(*numbers: float) -> list:
    return [s(T((2, 3), "positive"), number) for number in numbers]


ROWS = [
    Op("add", tg.add, "torch.add", [*binary(), *_numbers(3, -1.5), s(X, ROW, alpha=3)]),
    Op("sub", tg.sub, "torch.sub", [*binary(), *_numbers(3, -1.5), s(X, ROW, alpha=-2)]),
    Op("mul", tg.mul, "torch.mul", [*binary(), *_numbers(3, -1.5)]),
    Op("div", tg.div, "torch.div", [*binary(b="positive"), *_numbers(3, -1.5)]),
    Op(
        "pow",
        tg.pow,
        "torch.pow",
        [*binary("positive", integers=False), *_numbers(2, 0, -1.5), s(X, 3), s(X, 0), s(X, 1)],
        roundings=16,
    ),
    Op("remainder", tg.remainder, "torch.remainder", [*binary("apart", "positive"), s(X, 1.5)]),
    Op(
        "floor_divide",
        tg.floor_divide,
        "torch.floor_divide",
        [*binary("apart", "positive"), s(T((2, 3), "integer"), 2)],
        differentiable=False,
    ),
    Op(
        "maximum",
        tg.maximum,
        "torch.maximum",
        [*binary(), kink(T((4, 3), "ties"), T((4, 3), "ties"))],
    ),
    Op(
        "minimum",
        tg.minimum,
        "torch.minimum",
        [*binary(), kink(T((4, 3), "ties"), T((4, 3), "ties"))],
    ),
    Op(
        "where",
        tg.where,
        "torch.where",
        [s(T(a, "mask"), T(b), T(a)) for a, b in PAIRS]
        + [s(T((3, 1), "mask"), T((2, 1, 4)), T((3, 4))), s(T((2, 3), "mask"), T((3,)), 2.5)],
    ),
    Op("neg", tg.neg, "torch.neg", unary(integers=True)),
    Op("abs", tg.abs, "torch.abs", unary(integers=True)),
    Op("exp", tg.exp, "torch.exp", unary(integers=True)),
    Op("log", tg.log, "torch.log", unary("positive")),
    Op("sqrt", tg.sqrt, "torch.sqrt", unary("positive")),
    Op("rsqrt", tg.rsqrt, "torch.rsqrt", unary("positive"), roundings=8),
    Op("square", tg.square, "torch.square", unary(integers=True)),
    Op("reciprocal", tg.reciprocal, "torch.reciprocal", unary("positive"), roundings=8),
    Op("sin", tg.sin, "torch.sin", unary(integers=True)),
    Op("cos", tg.cos, "torch.cos", unary(integers=True)),
    Op("tanh", tg.tanh, "torch.tanh", unary(integers=True), roundings=8),
    Op("sigmoid", tg.sigmoid, "torch.sigmoid", unary(integers=True), roundings=8),
    Op("relu", tg.relu, "torch.relu", unary(integers=True)),
    Op(
        "clamp",
        tg.clamp,
        "torch.clamp",
        [
            *unary(min=-0.5, max=0.7),
            s(X, min=0.1),
            s(X, max=0.1),
            s(X, -0.2, 0.3),
            s(T((2, 3), "integer"), -2, 2),
            s(X, T((3, 1)), T((2, 1, 4), "positive")),
            s(X, min=ROW),
        ],
    ),
    Op("clone", tg.clone, "torch.clone", unary(integers=True)),
    Op("contiguous", lambda x: x.contiguous(), "torch.Tensor.contiguous", unary()),
    Op(
        "float",
        lambda x: x.float(),
        "torch.Tensor.float",
        [kink(T((2, 3, 4), layout="transposed")), kink(T((0, 3))), s(T((2, 3), "integer"))],
    ),
    Op(
        "to",
        lambda x: x.to(tg.tensor([1.0], dtype="float64")),
        "lambda x: x.to(torch.float64)",
        unary(integers=True),
    ),
    *[
        Op(name, getattr(tg, name), f"torch.{name}", unary(integers=ints), differentiable=False)
        for name, ints in [
            ("sign", True),
            ("floor", True),
            ("ceil", True),
            ("round", True),
            ("isnan", True),
            ("isinf", True),
            ("isfinite", True),
            ("logical_not", True),
        ]
    ],
    *[
        Op(
            name,
            getattr(tg, name),
            f"torch.{name}",
            [*binary("ties", "ties"), s(T((2, 3), "ties"), 0.5)],
            differentiable=False,
        )
        for name in ("eq", "ne", "lt", "le", "gt", "ge")
    ],
    *[
        Op(
            f"logical_{name}",
            getattr(tg, f"logical_{name}"),
            f"torch.logical_{name}",
            [*binary("ties", "ties"), s(T((2, 3), "mask"), T((3,), "mask"))],
            differentiable=False,
        )
        for name in ("and", "or", "xor")
    ],
    *[
        Op(
            f"{name} (operator)",
            call,
            f"lambda a, b: a {name} b",
            [s(T((2, 3), "mask"), T((3,), "mask")), s(T((2, 3), "integer"), T((3,), "integer"))],
            differentiable=False,
        )
        for name, call in [
            ("&", lambda a, b: a & b),
            ("|", lambda a, b: a | b),
            ("^", lambda a, b: a ^ b),
        ]
    ],
    Op(
        "~ (operator)",
        lambda a: ~a,
        "lambda a: ~a",
        [s(T((2, 3), "mask")), s(T((2, 3), "integer"))],
        differentiable=False,
    ),
    Op(
        "matmul",
        tg.matmul,
        "torch.matmul",
        [
            s(T((2, 3)), T((3, 4))),
            s(T((5, 2, 3)), T((3, 4))),
            s(T((2, 3)), T((5, 3, 4))),
            s(T((5, 2, 3)), T((5, 3, 4))),
            s(T((2, 1, 3, 4)), T((5, 4, 2))),
            s(T((3,)), T((3,))),
            s(T((3,)), T((3, 4))),
            s(T((2, 3)), T((3,))),
            s(T((5, 2, 3)), T((3,))),
            s(T((3,)), T((5, 3, 2))),
            s(T((2, 3, 4), layout="transposed"), T((4, 3), layout="transposed")),
            s(T((3, 4), layout="strided"), T((4, 5), layout="expanded")),
            s(T((2, 5, 3), layout="expanded"), T((3, 2))),
            s(T((1, 1)), T((1, 1))),
            s(T((0, 3)), T((3, 2))),
            s(T((2, 0)), T((0, 3))),
            s(T((2, 3, 0)), T((0, 4))),
            s(T((2, 3), "integer"), T((3, 4), "integer")),
        ],
    ),
    Op("mm", tg.mm, "torch.mm", [s(T((2, 3)), T((3, 4)))]),
    Op("bmm", tg.bmm, "torch.bmm", [s(T((5, 2, 3)), T((5, 3, 4)))]),
    Op("dot", tg.dot, "torch.dot", [s(T((5,)), T((5,)))]),
    Op(
        "einsum",
        tg.einsum,
        "torch.einsum",
        [
            s("ij,jk->ik", T((2, 3)), T((3, 4))),
            s("ij,jk", T((2, 3)), T((3, 4))),
            s("bid,bjd->bij", T((2, 3, 4)), T((2, 5, 4))),
            s("bthd,bshd->bhts", T((2, 3, 4, 5)), T((2, 6, 4, 5))),
            s("ij->ji", T((2, 3))),
            s("ij->", T((2, 3))),
            s("ij->i", T((2, 3), layout="transposed")),
            s("i,j->ij", T((2,)), T((3,))),
            s("ii", T((3, 3))),
            s("ii->i", T((3, 3))),
            s("bii->b", T((2, 3, 3))),
            s("...ij,...jk->...ik", T((2, 3, 4)), T((5, 1, 4, 2))),
            s("...i,i", T((2, 3, 4)), T((4,))),
            s("...i->...", T((2, 3))),
            s("i...->...", T((2, 3, 4))),
            s("...ij->...ji", T((2, 3, 4))),
            s("ij,jk,kl->il", T((2, 3)), T((3, 4)), T((4, 5))),
            s("i,ij,j->", T((2,)), T((2, 3)), T((3,))),
            s("ij,ij->i", T((2, 1)), T((2, 3))),
            s("ij,ij->ij", T((1, 3)), T((2, 3))),
            s("ij,kj->k", T((2, 3)), T((4, 3))),
            s(" a b , b c -> a c ", T((2, 3)), T((3, 4))),
            s("ij,jk->ik", T((0, 3)), T((3, 2))),
            s(",i->i", T(()), T((3,))),
            s("bn,anm,bm->ba", T((2, 3)), T((5, 3, 4)), T((2, 4))),
        ],
    ),
]
