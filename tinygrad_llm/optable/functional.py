"""Rows: tinygrad_llm.functional, and the textbook compositions of the fused operations."""

import tinygrad_llm as tg
import tinygrad_llm.functional as F
from tinygrad_llm.functional import composed
from tinygrad_llm.optable.row import Op, Sample, T, kink, s, unary

X = T((2, 3, 4))
LYING = T((2, 3, 4), layout="transposed")
C = 5  # classes


def _softmax() -> list[Sample]:
    return [
        s(X, dim=-1),
        s(X, dim=0),
        s(LYING, dim=1),
        s(T((3, 5), layout="strided"), dim=1),
        s(T((4, 3), layout="expanded"), dim=0),
        s(T((3, 1)), dim=1),
        s(T((5,)), dim=0),
        s(T(()), dim=0),
        s(T((0, 3)), dim=1),
        s(T((2, 0)), dim=0),
    ]


def _losses() -> list[Sample]:
    rows, images = T((4, C)), T((2, C, 3))
    ids, pixels = T((4,), "index", C), T((2, 3), "index", C)
    weight = T((C,), "positive", grad=False)
    return [
        s(rows, ids),
        s(rows, ids, reduction="sum"),
        s(rows, ids, reduction="none"),
        s(rows, ids, weight=weight),
        s(rows, ids, weight=weight, reduction="none"),
        s(rows, ids, ignore_index=2),
        s(images, pixels),
        s(images, pixels, weight=weight, ignore_index=1),
        s(T((4, C), layout="transposed"), ids),
        s(T((C,)), T((), "index", C)),
    ]


def _smoothed() -> list[Sample]:
    rows, weight = T((4, C)), T((C,), "positive", grad=False)
    soft = T((4, C), "probability", grad=False)
    return [
        s(rows, T((4,), "index", C), label_smoothing=0.1),
        s(rows, T((4,), "index", C), label_smoothing=0.2, weight=weight, ignore_index=3),
        s(rows, soft),
        s(rows, soft, weight=weight, label_smoothing=0.1),
        s(T((2, C, 3)), T((2, C, 3), "probability", grad=False), reduction="sum"),
    ]


def _attention() -> list[Sample]:
    q, k, v = T((2, 3, 4, 6)), T((2, 3, 5, 6)), T((2, 3, 5, 7))
    return [
        s(q, k, v),
        s(q, k, v, scale=0.3),
        s(T((2, 3, 5, 6)), k, v, is_causal=True),
        s(q, k, v, attn_mask=T((4, 5), grad=False)),
        s(q, k, v, attn_mask=T((2, 1, 4, 5), "mask")),
        s(T((2, 6, 4, 6)), k, v, enable_gqa=True),
        s(T((3, 4, 6)), T((3, 5, 6)), T((3, 5, 7))),
        s(T((2, 3, 1, 6)), k, v),
    ]


def _norm(weight: bool, bias: bool) -> list[Sample]:
    def more(shape: tuple[int, ...]) -> list[T]:
        return [T(shape)] * (weight + bias)

    return [
        s(X, (4,)),
        s(X, (4,), *more((4,))),
        s(X, (3, 4), *more((3, 4))),
        s(LYING, (4,), *more((4,)), eps=0.1),
        s(T((3, 5), layout="strided"), (5,), *more((5,))),
        s(T((5,)), (5,), *more((5,))),
        s(T((0, 3)), (3,), *more((3,))),
    ]


_BCE = [
    s(X, T((2, 3, 4), "mask", grad=False)),
    s(X, T((2, 3, 4), "probability", grad=False)),
    s(X, T((2, 3, 4), "probability", grad=False), reduction="none"),
    s(X, T((2, 3, 4), "probability", grad=False), weight=T((4,), "positive", grad=False)),
    s(LYING, T((2, 3, 4), "probability", grad=False), pos_weight=T((4,), "positive", grad=False),
      reduction="sum"),
]  # fmt: skip

_ROTATE = (
    "lambda x, c, s: "
    "torch.cat([x[..., :3] * c - x[..., 3:] * s, x[..., 3:] * c + x[..., :3] * s], -1)"
)
_NN = "torch.nn.functional."

ROWS = [
    Op("F.relu", F.relu, _NN + "relu", unary()),
    Op("F.sigmoid", F.sigmoid, _NN + "sigmoid", unary(), roundings=8),
    Op("F.tanh", F.tanh, _NN + "tanh", unary(), roundings=8),
    Op("F.erf", F.erf, "torch.erf", unary(), roundings=16),
    Op("F.gelu", F.gelu, _NN + "gelu", [*unary(), *unary(approximate="tanh")], roundings=32),
    Op("F.silu", F.silu, _NN + "silu", unary(), roundings=16),
    Op(
        "F.swiglu",
        F.swiglu,
        "lambda a, b: torch.nn.functional.silu(a) * b",
        [s(X, X), s(LYING, X), s(T((0, 3)), T((0, 3))), s(T(()), T(()))],
        roundings=16,
    ),
    Op("F.softplus", F.softplus, _NN + "softplus", [*unary(), s(X, 2.0)], roundings=16),
    Op("F.logsigmoid", F.logsigmoid, _NN + "logsigmoid", unary(), roundings=16),
    Op("F.softmax", F.softmax, _NN + "softmax", _softmax(), roundings=16),
    Op("F.log_softmax", F.log_softmax, _NN + "log_softmax", _softmax(), roundings=16),
    Op("softmax", tg.softmax, "torch.softmax", _softmax(), roundings=16),
    Op("log_softmax", tg.log_softmax, "torch.log_softmax", _softmax(), roundings=16),
    Op("F.layer_norm", F.layer_norm, _NN + "layer_norm", _norm(True, True), roundings=32),
    Op("F.rms_norm", F.rms_norm, _NN + "rms_norm", _norm(True, False), roundings=32),
    Op(
        "F.normalize",
        F.normalize,
        _NN + "normalize",
        [s(X), s(X, dim=-1), s(LYING, dim=0), s(T((3, 4)), p=1.0)],
        roundings=16,
    ),
    Op(
        "F.cosine_similarity",
        F.cosine_similarity,
        _NN + "cosine_similarity",
        [s(X, X), s(X, T((2, 3, 4)), dim=-1), s(T((5,)), T((5,)), dim=0)],
        roundings=32,
    ),
    Op(
        "F.linear",
        F.linear,
        _NN + "linear",
        [
            s(X, T((5, 4)), T((5,))),
            s(X, T((5, 4))),
            s(T((4,)), T((5, 4)), T((5,))),
            s(LYING, T((5, 4), layout="transposed"), T((5,), layout="strided")),
            s(T((0, 4)), T((5, 4)), T((5,))),
            s(T((1, 1)), T((1, 1)), T((1,))),
        ],
    ),
    Op(
        "F.embedding",
        F.embedding,
        _NN + "embedding",
        [
            s(T((2, 3), "index", 5), T((5, 4))),
            s(T((7,), "index", 2), T((2, 3))),
            s(T((), "index", 5), T((5, 4))),
            s(T((0,), "index", 5), T((5, 4))),
            kink(T((2, 3), "index", 5), T((5, 4)), padding_idx=1),
            kink(T((2, 3), "index", 5), T((5, 4), layout="transposed"), padding_idx=-1),
        ],
    ),
    Op(
        "F.one_hot",
        F.one_hot,
        _NN + "one_hot",
        [s(T((2, 3), "index", 4), 5), s(T((6,), "index", 3)), s(T((), "index", 3), 3)],
        differentiable=False,
    ),
    Op(
        "F.pad",
        F.pad,
        _NN + "pad",
        [s(X, (1, 2)), s(X, (0, 1, 2, 0), value=0.5), s(LYING, (-1, 1))],
    ),
    Op(
        "F.dropout",
        lambda x, p: F.dropout(x, p, training=False) + F.dropout(x, 0.0),
        "lambda x, p: x + x",
        [s(X, 0.3), s(LYING, 0.9)],
    ),
    Op("F.cross_entropy", F.cross_entropy, _NN + "cross_entropy", _losses() + _smoothed(), 16),
    Op("F.nll_loss", F.nll_loss, _NN + "nll_loss", _losses(), 16),
    Op(
        "F.mse_loss",
        F.mse_loss,
        _NN + "mse_loss",
        [s(X, X), s(X, LYING, reduction="sum"), s(X, X, reduction="none"), s(T(()), T(()))],
    ),
    Op(
        "F.binary_cross_entropy_with_logits",
        F.binary_cross_entropy_with_logits,
        _NN + "binary_cross_entropy_with_logits",
        _BCE[1:],
        roundings=32,
    ),
    Op(
        "F.scaled_dot_product_attention",
        F.scaled_dot_product_attention,
        _NN + "scaled_dot_product_attention",
        _attention(),
        roundings=64,
    ),
    Op(
        "F.apply_rotary",
        F.apply_rotary,
        _ROTATE,
        [s(T((2, 4, 6)), T((4, 3), grad=False), T((4, 3), grad=False))],
        roundings=8,
    ),
    Op("composed.softmax", composed.softmax, _NN + "softmax", _softmax()[:7], 16),
    Op("composed.log_softmax", composed.log_softmax, _NN + "log_softmax", _softmax()[:7], 16),
    Op("composed.gelu", composed.gelu, _NN + "gelu", [s(X), s(X, approximate="tanh")], 32),
    Op("composed.silu", composed.silu, _NN + "silu", [s(X)], 16),
]
