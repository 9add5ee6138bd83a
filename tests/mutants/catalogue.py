"""Wrong versions of the engine, one line each, and the tests that must reject them.

A mutant names a file, a text that occurs in it exactly once, what stands there instead, and the
tests. They are mistakes that people make: a sum forgotten over a broadcast axis, a gradient
overwritten where it should be added, softmax without its maximum, a mask after the softmax.
"""

from dataclasses import dataclass

OPS = "tests/tinygrad_llm/ops/"
WALK = "tests/tinygrad_llm/test_autograd.py::"
TENSOR = "tests/tinygrad_llm/tensor/"

# Lines of the normalisation kernels.
EPS, ROOT = "        r += eps\n", "        np.sqrt(r, out=r)\n"
UPSIDE_DOWN = "        np.divide(1, r, out=r)\n"


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str
    original: str
    wrong: str
    tests: tuple[str, ...]


def slope(*ops: str) -> tuple[str, ...]:
    """Finite differences of rows of the op table."""
    test = "test_table.py::test_backward_agrees_with_finite_differences"
    return tuple(f"{OPS}{test}[{op}]" for op in ops)


def alone(*ops: str) -> tuple[str, ...]:
    test = "test_table.py::test_a_gradient_belongs_to_its_tensor_alone"
    return tuple(f"{OPS}{test}[{op}]" for op in ops)


def formula(*ops: str) -> tuple[str, ...]:
    return tuple(f"{OPS}test_values.py::test_values_are_the_formulas[{op}]" for op in ops)


def corner(test: str) -> tuple[str, ...]:
    return (f"{OPS}test_values.py::test_{test}",)


def walk(test: str) -> tuple[str, ...]:
    return (f"{WALK}test_{test}",)


def tensor(test: str) -> tuple[str, ...]:
    return (f"{TENSOR}test_{test}",)


def kernel(operation: str, tests: str, module: str = "") -> tuple[str, ...]:
    """The reference spelling's tests of a kernel folder."""
    file = f"tests/kernels/{operation}/test_{module or operation}.py"
    return (file, "-k", f"reference and ({tests})")


def _mutants(file: str, *rows: tuple[str, str, str, tuple[str, ...]]) -> list[Mutant]:
    return [Mutant(name, file, original, wrong, tests) for name, original, wrong, tests in rows]


CATALOGUE = [
    *_mutants(
        "tinygrad_llm/autograd/walk.py",
        (
            "no sum over a new broadcast axis",
            "gradient = gradient.sum(axis=tuple(range(extra)))",
            "gradient = gradient[(0,) * extra]",
            slope("add"),
        ),
        (
            "mean instead of sum over a stretched axis",
            "gradient.sum(axis=stretched, keepdims=True)",
            "gradient.mean(axis=stretched, keepdims=True)",
            slope("mul"),
        ),
        (
            "no sum over a stretched axis",
            "    if stretched:\n",
            "    if False:\n",
            slope("sub"),
        ),
        (
            "gradient overwritten, not added",
            "place.gradients[slot] = _as_array(known + dx)",
            "place.gradients[slot] = dx",
            walk("a_value_used_twice_gets_both_gradients"),
        ),
        (
            "a node runs at its first gradient",
            "            place.consumers += 1\n",
            "            place.consumers = 1\n",
            walk("a_long_and_a_short_way_to_the_same_value"),
        ),
        (
            "somebody else's array is added to in place",
            "place.ours[slot] = _is_fresh(dx, douts)",
            "place.ours[slot] = True",
            walk("a_shared_gradient_is_not_added_to_in_place"),
        ),
        (
            "a view counts as an array of its own",
            "return dx.base is None and dx is not douts[0]",
            "return dx is not douts[0]",
            alone("reshape"),
        ),
        (
            "the incoming gradient counts as new",
            "dx.base is None and dx is not douts[0] and all(dx is not dout for dout in douts[1:])",
            "dx.base is None",
            alone("add"),
        ),
        (
            "changes in place are not looked for",
            "    if node.born != changes.now:\n",
            "    if False:\n",
            tensor("inplace.py::test_a_saved_input_that_changed_is_named"),
        ),
        (
            "shape and dtype of gradients unchecked",
            "    if dx.shape != shape or dx.dtype != dtype:\n",
            "    if False:\n",
            walk("the_engine_holds_backward_to_its_contract"),
        ),
        (
            "saved arrays live until the end",
            "            node.release()\n",
            "            pass\n",
            walk("what_the_walk_has_passed_is_freed_while_it_goes_on"),
        ),
        (
            "a hook's answer is ignored",
            "                    douts[slot] = replaced\n",
            "                    pass\n",
            walk("a_hook_can_replace_the_gradient_and_be_removed"),
        ),
    ),
    *_mutants(
        "tinygrad_llm/autograd/changes.py",
        (
            "a change before the forward pass counts",
            "return entry[2] if entry is not None and entry[1] > time else None",
            "return entry[2] if entry is not None and entry[1] >= time else None",
            tensor("inplace.py::test_a_change_before_the_forward_pass_is_no_error"),
        ),
        (
            "a view is not known to be one",
            "    while base is not None:\n",
            "    while False:\n",
            tensor("inplace.py::test_a_change_through_any_view_is_noticed"),
        ),
    ),
    *_mutants(
        "tinygrad_llm/autograd/grad_mode.py",
        (
            "a generator runs outside its no_grad",
            "return switched_generator if inspect.isgeneratorfunction(function) else switched",
            "return switched",
            walk("no_grad_decorates_generators_step_by_step"),
        ),
        (
            "no_grad does not restore what was",
            "mode.enabled = self.previous.pop()",
            "mode.enabled = True",
            walk("no_grad_and_enable_grad_nest"),
        ),
    ),
    *_mutants(
        "tinygrad_llm/tensor/core.py",
        (
            "a second backward replaces the gradient",
            "            total += gradient\n",
            "            self.grad = Tensor.from_op(gradient.copy())\n",
            walk("gradients_accumulate_over_calls_and_leave_others_alone"),
        ),
        (
            "a leaf keeps an array that others hold",
            "Tensor.from_op(gradient if fresh else gradient.copy())",
            "Tensor.from_op(gradient)",
            alone("add"),
        ),
        (
            "hooks get the gradient itself",
            "replaced = hook(Tensor.from_op(gradient.copy()))",
            "replaced = hook(Tensor.from_op(gradient))",
            walk("what_a_hook_keeps_or_changes_is_its_own"),
        ),
    ),
    *_mutants(
        "tinygrad_llm/ops/arithmetic.py",
        (
            "the subtrahend's sign",
            "return dout, -dout if self.needs_grad[1] else None",
            "return dout, dout if self.needs_grad[1] else None",
            slope("sub"),
        ),
        (
            "the wrong factor",
            "da = dout * self.b if self.needs_grad[0] else None",
            "da = dout * self.a if self.needs_grad[0] else None",
            slope("mul"),
        ),
        (
            "divided by b once",
            "self.a / self.b / self.b",
            "self.a / self.b",
            slope("div"),
        ),
        (
            "0 to the power of 0 has a slope",
            "return b * a ** (b - 1) if b != 0 else np.zeros_like(a)",
            "return b * a ** (b - 1)",
            corner("power_at_zero_and_below"),
        ),
        (
            "log of 0 in the exponent's slope",
            "at_zero = (base == 0) & (self.b >= 0)",
            "at_zero = np.zeros(base.shape, bool)",
            corner("power_at_zero_and_below"),
        ),
        (
            "both of two equal values get all",
            "half = np.where(self.a == self.b, dout / 2, dout)",
            "half = dout",
            corner("ties_share_the_gradient"),
        ),
        (
            "neither of two equal values gets any",
            "        return a > b\n",
            "        return a >= b\n",
            corner("ties_share_the_gradient"),
        ),
        (
            "where's branches exchanged",
            "db = np.where(self.condition, zero, dout)",
            "db = np.where(self.condition, dout, zero)",
            slope("where"),
        ),
        (
            "the divisor's sign in remainder",
            "-dout * self.quotient",
            "dout * self.quotient",
            slope("remainder"),
        ),
    ),
    *_mutants(
        "tinygrad_llm/ops/elementwise.py",
        ("tanh' without the square", "1 - self.out * self.out", "1 - self.out", slope("tanh")),
        ("sigmoid of negative numbers", "np.exp(-np.abs(x))", "np.exp(-x)", formula("sigmoid")),
        (
            "sigmoid' without its second factor",
            "self.out * (1 - self.out)",
            "self.out",
            slope("sigmoid"),
        ),
        ("relu has a slope at 0", "self.out > 0", "self.out >= 0", corner("slopes_at_the_kinks")),
        (
            "rsqrt' with the square",
            "-0.5 * self.out * self.out * self.out",
            "-0.5 * self.out * self.out",
            slope("rsqrt"),
        ),
        ("sqrt' without the half", "dout / (2 * self.out)", "dout / self.out", slope("sqrt")),
        ("the sign of cos'", "dout * -np.sin(self.x)", "dout * np.sin(self.x)", slope("cos")),
        ("log' upside down", "return dout / self.x", "return dout * self.x", slope("log")),
        (
            "no gradient at the bound",
            "self.x <= self.max",
            "self.x < self.max",
            corner("slopes_at_the_kinks"),
        ),
        (
            "the gradient of a cast stays narrow",
            "return dout.astype(self.dtype)",
            "return dout",
            tensor("inplace.py::test_a_wider_operand_keeps_dtype_and_gradient"),
        ),
    ),
    *_mutants(
        "tinygrad_llm/ops/reduce.py",
        (
            "mean' without dividing",
            "return self.fill(dout / self.n)",
            "return self.fill(dout)",
            slope("mean"),
        ),
        (
            "biased variance",
            "max(self.count() - correction, 0)",
            "self.count()",
            formula("var"),
        ),
        ("variance' without the 2", "dout.dtype.type(2)", "dout.dtype.type(1)", slope("var")),
        (
            "std of equal values has no slope",
            "zero = self.out == 0",
            "zero = self.out < 0",
            corner("spread_of_equal_values_has_a_gradient_of_zero"),
        ),
        (
            "equal largest values all get everything",
            "(chosen / count)",
            "chosen",
            corner("ties_share_the_gradient"),
        ),
        (
            "logsumexp without the maximum",
            "np.where(np.isinf(largest), x.dtype.type(0), largest)",
            "np.zeros_like(largest)",
            corner("nothing_overflows_on_the_way"),
        ),
        (
            "logsumexp of nothing but -inf",
            "largest = np.where(np.isinf(largest), x.dtype.type(0), largest)",
            "largest = largest + 0",
            corner("logsumexp_of_infinities"),
        ),
        (
            "cumsum' from the front",
            "np.flip(np.flip(dout, self.dim).cumsum(self.dim, dtype=dout.dtype), self.dim)",
            "dout.cumsum(self.dim, dtype=dout.dtype)",
            slope("cumsum"),
        ),
        (
            "a reduced axis does not come back",
            "[1 if i in self.dims else n for i, n in enumerate(self.shape)]",
            "reduced.shape",
            slope("sum"),
        ),
        (
            "float16 rounds at every addition",
            "        if x.dtype.itemsize == 2:\n",
            "        if False:\n",
            tensor("dtypes.py::test_float16_sums_are_not_rounded_on_the_way"),
        ),
    ),
    *_mutants(
        "tinygrad_llm/ops/shape.py",
        (
            "permute' is not the inverse",
            "inverse[dim] = place",
            "inverse[place] = dim",
            slope("permute"),
        ),
        ("repeat' sums the wrong axes", "range(0, len(split), 2)", "range(1, len(split), 2)",
         slope("repeat")),
        ("cat' cuts one too early", "np.cumsum(self.sizes)[:-1]", "np.cumsum(self.sizes)[:-1] - 1",
         slope("cat")),
        ("stack' along the wrong axis", "np.moveaxis(dout, self.dim, 0)",
         "np.moveaxis(dout, -1, 0)", slope("stack")),
        ("tril off by one", "return np.tril(x, k)", "return np.tril(x, k + 1)", formula("tril")),
        ("tril' forgets the diagonal", "np.tril(dout, self.k)", "np.tril(dout)", slope("tril")),
        ("triu off by one", "return np.triu(x, k)", "return np.triu(x, k + 1)", formula("triu")),
        ("flip' does not flip", "return np.flip(dout, self.dims)", "return dout", slope("flip")),
        ("pad grows at the wrong end", "slice(max(before, 0), n - max(after, 0))",
         "slice(max(after, 0), n - max(before, 0))", formula("pad")),
        ("a slice' at the wrong place in split", "np.concatenate(dout, axis=self.dim)",
         "np.concatenate(dout[::-1], axis=self.dim)", slope("split")),
    ),
    *_mutants(
        "tinygrad_llm/ops/indexing.py",
        (
            "of repeated indices only the last counts",
            "np.add.at(view, self.advanced, value)",
            "view[self.advanced] += value",
            corner("repeated_indices_add_their_gradients"),
        ),
        (
            "gather' keeps only the last",
            "np.add.at(dx, self.places, dout)",
            "dx[self.places] = dout",
            slope("gather"),
        ),
        (
            "scatter_add keeps only the last",
            "np.add.at(out, self.places, src[self.used])",
            "out[self.places] += src[self.used]",
            formula("scatter_add"),
        ),
        (
            "what was overwritten keeps its gradient",
            "self.index.put(dx, dout.dtype.type(0))",
            "pass",
            slope("setitem"),
        ),
        (
            "masked_fill' ignores the mask",
            "np.where(self.mask, zero, dout)",
            "dout + zero",
            slope("masked_fill"),
        ),
        (
            "a mask beside an index array",
            "if len(arrays) == 1 and arrays[0]",
            "if arrays[0]",
            corner("repeated_indices_add_their_gradients"),
        ),
    ),
    *_mutants(
        "tinygrad_llm/ops/matmul.py",
        (
            "no transpose in matmul'",
            "matmul(dout, b.swapaxes(-1, -2))",
            "matmul(dout, b)",
            slope("matmul"),
        ),
        (
            "matmul' keeps a broadcast batch",
            "db = unbroadcast(matmul(a.swapaxes(-1, -2), dout), b.shape)",
            "db = matmul(a.swapaxes(-1, -2), dout)",
            slope("matmul"),
        ),
        (
            "einsum' keeps a broadcast index",
            "dx = unbroadcast(dx, tuple(min(sizes[c], n) for c, n in zip(unique, dx.shape)))",
            "dx = dx[tuple(slice(sizes[c]) for c in unique)]",
            slope("einsum"),
        ),
    ),
    *_mutants(
        "tinygrad_llm/dtypes.py",
        (
            "an integer widens a float, as in NumPy",
            "    if rank_a != rank_b:\n",
            "    if False:\n",
            tensor("dtypes.py::test_a_number_does_not_widen_and_a_0d_tensor_neither"),
        ),
        (
            "a 0-d tensor widens",
            "    if (a.ndim == 0) != (b.ndim == 0):\n",
            "    if False:\n",
            tensor("dtypes.py::test_a_number_does_not_widen_and_a_0d_tensor_neither"),
        ),
    ),
    *_mutants(
        "tinygrad_llm/tensor/_reductions.py",
        (
            "sorted downwards, equal values turn round",
            "return x.shape[axis] - 1 - np.flip(backwards, axis)",
            "return np.flip(np.argsort(x, axis=axis, kind='stable'), axis)",
            corner("nan_is_passed_on_and_sorts_last") + (f"{TENSOR}test_orderings.py",),
        ),
        (
            "topk takes the other end",
            "(n - k, range(n - k, n)) if largest",
            "(n - k, range(n - k, n)) if not largest",
            corner("topk_of_unsigned_and_bool"),
        ),
    ),
    *_mutants(
        "tinygrad_llm/tensor/gradcheck.py",
        (
            "gradcheck halves the step twice",
            "/ (2 * eps)",
            "/ (4 * eps)",
            slope("exp"),
        ),
        (
            "gradcheck accepts anything",
            "            if not abs(numeric - analytic)",
            "            if False and not abs(numeric - analytic)",
            tensor("gradcheck.py"),
        ),
    ),
    *_mutants(
        "kernels/softmax/reference.py",
        (
            "softmax without the maximum",
            "np.subtract(x, largest, out=out)  # (N, C)",
            "np.copyto(out, x)",
            kernel("softmax", "large_values"),
        ),
        (
            "softmax' without its sum",
            "np.subtract(douts[rows], dot, out=dxs[rows])",
            "np.copyto(dxs[rows], douts[rows])",
            kernel("softmax", "slopes"),
        ),
        (
            "softmax over everything",
            "e /= e.sum(axis=1, keepdims=True)",
            "e /= e.sum()",
            kernel("softmax", "test_values"),
        ),
        (
            "log_softmax' without softmax",
            "d *= douts[rows].sum(axis=1, keepdims=True)",
            "d *= douts[rows]",
            kernel("softmax", "slopes"),
        ),
    ),
    *_mutants(
        "kernels/layer_norm/reference.py",
        (
            "eps outside the root of layer_norm",
            EPS + ROOT + UPSIDE_DOWN + "        centred",
            ROOT + EPS + UPSIDE_DOWN + "        centred",
            kernel("layer_norm", "test_values or equal_values"),
        ),
        (
            "layer_norm with n - 1",
            "r /= columns",
            "r /= columns - 1",
            kernel("layer_norm", "test_values"),
        ),
        (
            "layer_norm' forgets that the mean moves",
            "d -= mean_g",
            "pass",
            kernel("layer_norm", "slopes"),
        ),
        (
            "layer_norm' forgets that the variance moves",
            "y *= mean_gy",
            "y *= 0",
            kernel("layer_norm", "slopes"),
        ),
        (
            "eps outside the root of rms_norm",
            EPS + ROOT + UPSIDE_DOWN + "        o =",
            ROOT + EPS + UPSIDE_DOWN + "        o =",
            kernel("layer_norm", "test_values or equal_values"),
        ),
        (
            "rms_norm' without the mean",
            "np.vecdot(g, y)[:, None] / x.shape[-1]",
            "np.vecdot(g, y)[:, None]",
            kernel("layer_norm", "slopes"),
        ),
    ),
    *_mutants(
        "kernels/attention/reference.py",
        (
            "unscaled scores",
            "p = _scores(q[tile[:3]] * scale,",
            "p = _scores(q[tile[:3]],",
            kernel("attention", "values_and_slopes or test_scale"),
        ),
        (
            "a query sees one key too few",
            "late = np.arange(keys) > np.arange(queries)[:, None] + shift",
            "late = np.arange(keys) >= np.arange(queries)[:, None] + shift",
            kernel("attention", "values_and_slopes"),
        ),
        (
            "a query looks ahead",
            "late = np.arange(keys) > np.arange(queries)[:, None] + shift",
            "late = np.arange(keys) > np.arange(queries)[:, None] + shift + 1",
            kernel("attention", "never_looks_ahead"),
        ),
        (
            "the mask comes after the softmax",
            "        scores += mask[tile]\n",
            "        scores += np.maximum(mask[tile], -1)\n",
            kernel("attention", "values_and_slopes"),
        ),
        (
            "no maximum in the softmax of attention",
            "        p -= largest\n",
            "        largest[...] = 0\n",
            kernel("attention", "large_scores"),
        ),
        (
            "attention' without softmax's sum",
            "        ds -= dots\n",
            "        pass\n",
            kernel("attention", "values_and_slopes"),
        ),
        (
            "dq without the scale",
            "np.multiply((rows @ k[seen]).reshape(scaled.shape), scale,",
            "np.multiply((rows @ k[seen]).reshape(scaled.shape), 1,",
            kernel("attention", "values_and_slopes"),
        ),
        (
            "dk of the last group only",
            "dk[seen] += rows",
            "dk[seen] = rows",
            kernel("attention", "values_and_slopes"),
        ),
    ),
    *_mutants(
        "kernels/cross_entropy/reference.py",
        (
            "softmax plus one hot",
            "p[np.arange(len(y)), y] -= at_target",
            "p[np.arange(len(y)), y] += at_target",
            kernel("cross_entropy", "values_and_slopes"),
        ),
        (
            "ignored targets count",
            "        nll[~used] = 0\n",
            "        pass\n",
            kernel("cross_entropy", "values_and_slopes or another_ignore"),
        ),
        (
            "smoothing takes nothing from the target",
            "nll *= 1 - label_smoothing",
            "pass",
            kernel("cross_entropy", "values_and_slopes"),
        ),
        (
            "cross entropy without the maximum",
            "largest = x.max(axis=1, keepdims=True)",
            "largest = np.zeros_like(x[:, :1])",
            kernel("cross_entropy", "large_logits"),
        ),
    ),
    *_mutants(
        "kernels/gelu/reference.py",
        ("gelu' without the density", "    t += density\n", "", kernel("gelu", "slopes")),
        ("another cubic", "CUBIC = 0.044715", "CUBIC = 0.0447", kernel("gelu", "test_values")),
        ("gelu with a whole", "    t += 1\n    t *= 0.5  # (n,): Phi(x)",
         "    t += 1\n    t *= 1.0  # (n,): Phi(x)", kernel("gelu", "test_values")),
    ),
    *_mutants(
        "kernels/embedding/reference.py",
        (
            "a token used twice counts once",
            "np.add.at(flat, (first + np.arange(columns)).reshape(-1), ",
            "np.put(flat, (first + np.arange(columns)).reshape(-1), ",
            kernel("embedding", "values_and_slopes"),
        ),
    ),
    *_mutants(
        "kernels/dropout/reference.py",
        (
            "dropout does not scale what it keeps",
            "np.multiply(xs[block], 1 / (1 - p), out=outs[block])",
            "np.multiply(xs[block], 1, out=outs[block])",
            (f"{OPS}test_table.py::test_dropout_against_its_own_mask",),
        ),
    ),
    *_mutants(
        "kernels/rotary/reference.py",
        (
            "rotary' turns the same way",
            "        sin = -sin\n",
            "        pass\n",
            kernel("rotary", "values_and_slopes"),
        ),
    ),
    *_mutants(
        "tinygrad_llm/ops/loss.py",
        (
            "a weighted mean divides by the number",
            "counts = used if weight is None else weight[self.targets[used]]",
            "counts = used",
            ("tests/tinygrad_llm/functional",),
        ),
    ),
    *_mutants(
        "tinygrad_llm/ops/activation.py",
        ("softplus' everywhere 1/2", "np.tanh(0.5 * self.x)", "np.tanh(0.0 * self.x)",
         slope("F.softplus")),
        ("erf' without its factor", "* (2 / math.sqrt(math.pi))", "", slope("F.erf")),
    ),
    *_mutants(
        "kernels/gelu/reference.py",
        ("silu' is the sigmoid alone", "    slope *= x\n    slope += 1\n",
         "    slope *= 0\n    slope += 1\n", slope("F.silu")),
    ),
    *_mutants(
        "kernels/matmul/reference.py",
        ("a linear layer's weight, transposed",
         "dweight = _product(douts.T, _rows(x), weight.shape)",
         "dweight = _product(_rows(x).T, douts, weight.shape[::-1]).reshape(weight.shape)",
         slope("F.linear")),
    ),
    *_mutants(
        "kernels/adamw/reference.py",
        ("AdamW: no bias correction of the mean", "rate = lr / (1 - beta1**step)", "rate = lr",
         ("tests/tinygrad_llm/optim/test_formulas.py",)),
        ("AdamW: eps under the root",
         "        np.sqrt(v, out=spare)\n        spare /= root\n        spare += eps\n",
         "        np.sqrt(v + eps, out=spare)\n        spare /= root\n",
         ("tests/tinygrad_llm/optim/test_formulas.py",)),
        ("AdamW: decay without the rate", "p *= 1 - lr * weight_decay", "p *= 1 - weight_decay",
         ("tests/tinygrad_llm/optim/test_formulas.py",)),
    ),
    *_mutants(
        "tinygrad_llm/ops/elementwise.py",
        ("cos' with the wrong sign", "dout * -np.sin(self.x)", "dout * np.sin(self.x)",
         slope("cos")),
    ),
]  # fmt: skip
