"""The optimisers against their formulas, in float64, and wrong versions of them, which must fail.

The formulas are written out here a second time, plainly. The gradients differ in size by orders of
magnitude and are sometimes zero, the rate changes on the way, and eps is not negligible: otherwise
many a mistake would not show.
"""

import inspect
import types

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.device import replace_kernel
from tinygrad_llm.kernels.adamw import reference
from tinygrad_llm.optim import adam, sgd

STEPS = 30
SHAPES = [(5, 3), (7,), (2, 3, 4), (1, 1), (), (0, 3), (2, 101)]


def gradients(seed):
    """(parameters, [gradients of step 0, of step 1, ...], [rate of step 0, ...])"""
    rng = np.random.default_rng(seed)
    start = [rng.standard_normal(shape) for shape in SHAPES]
    steps = []
    for t in range(STEPS):
        scale = 10 ** rng.uniform(-4, 1)
        steps.append(
            [0.0 * p if t % 7 == 5 else scale * rng.standard_normal(p.shape) for p in start]
        )
    rates = [0.1 if t < 10 else 0.02 for t in range(STEPS)]
    return start, steps, rates


def sgd_formula(p, grads, rates, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    velocity = None
    for g, lr in zip(grads, rates, strict=True):
        g = g + weight_decay * p
        velocity = g if velocity is None else momentum * velocity + (1 - dampening) * g
        p = p - lr * (g + momentum * velocity if nesterov else velocity)
    return p


def adam_formula(p, grads, rates, betas, eps, weight_decay, decoupled):
    beta1, beta2 = betas
    m, v = np.zeros(p.shape), np.zeros(p.shape)
    for t, (g, lr) in enumerate(zip(grads, rates, strict=True), start=1):
        g = g if decoupled else g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        decay = lr * weight_decay * p if decoupled else 0
        p = p - decay - lr * m_hat / (np.sqrt(v_hat) + eps)
    return p


def check(optimizer_class, formula, seed=0, **settings):
    start, steps, rates = gradients(seed)
    tensors = [tg.tensor(p, requires_grad=True) for p in start]
    optimizer = optimizer_class(tensors, lr=rates[0], **settings)
    for grads, lr in zip(steps, rates, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        for tensor, g in zip(tensors, grads, strict=True):
            tensor.grad = tg.tensor(g)
        optimizer.step()
        for tensor, g in zip(tensors, grads, strict=True):
            assert np.array_equal(tensor.grad.array, g), "the gradient belongs to the caller"
    for i, tensor in enumerate(tensors):
        expected = formula(start[i], [grads[i] for grads in steps], rates, **settings)
        # A few roundings a step, which later steps pass on: 1e-16 times some hundreds.
        np.testing.assert_allclose(tensor.array, expected, rtol=1e-12, atol=1e-13)


SGD_SETTINGS = [
    {},
    {"weight_decay": 0.1},
    {"momentum": 0.9},
    {"momentum": 0.8, "dampening": 0.3, "weight_decay": 0.05},
    {"momentum": 0.7, "nesterov": True, "weight_decay": 0.05},
]
ADAM_SETTINGS = {"betas": (0.8, 0.95), "eps": 1e-2, "weight_decay": 0.3}


def adamw_formula(p, grads, rates, **settings):
    return adam_formula(p, grads, rates, decoupled=True, **settings)


def coupled_formula(p, grads, rates, **settings):
    return adam_formula(p, grads, rates, decoupled=False, **settings)


@pytest.mark.parametrize("settings", SGD_SETTINGS, ids=str)
def test_sgd(settings):
    check(sgd.SGD, sgd_formula, **settings)


@pytest.mark.parametrize("seed", [1, 2])
def test_adamw(seed):
    check(adam.AdamW, adamw_formula, seed, **ADAM_SETTINGS)
    check(adam.AdamW, adamw_formula, seed, **{**ADAM_SETTINGS, "weight_decay": 0.0})


@pytest.mark.parametrize("seed", [1, 2])
def test_adam(seed):
    check(adam.Adam, coupled_formula, seed, **ADAM_SETTINGS)
    check(adam.Adam, coupled_formula, seed, **{**ADAM_SETTINGS, "weight_decay": 0.0})


def mutated(module, old, new):
    """The module with one place of its source changed."""
    source = inspect.getsource(module)
    assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in {module.__name__}"
    wrong = types.ModuleType(module.__name__)
    wrong.__package__ = module.__package__
    exec(compile(source.replace(old, new), f"{module.__name__} (mutant)", "exec"), wrong.__dict__)
    return wrong


ADAMW_MUTANTS = {
    "decay coupled to the gradient": ("p *= 1 - lr * weight_decay", "g = g + weight_decay * p"),
    "decay without the rate": ("p *= 1 - lr * weight_decay", "p *= 1 - weight_decay"),
    "decay that grows": ("p *= 1 - lr * weight_decay", "p *= 1 + lr * weight_decay"),
    "no decay": ("if weight_decay:", "if False:"),
    "decay after the step": ("        p -= spare", "        p -= spare / (1 - lr * weight_decay)"),
    "m not corrected": ("rate = lr / (1 - beta1**step)", "rate = lr"),
    "v not corrected": ("root = math.sqrt(1 - beta2**step)", "root = 1.0"),
    "v corrected without the root": ("math.sqrt(1 - beta2**step)", "(1 - beta2**step)"),
    "betas exchanged in the correction": ("lr / (1 - beta1**step)", "lr / (1 - beta2**step)"),
    "correction one step late": ("(1 - beta1**step)", "(1 - beta1 ** (step + 1))"),
    "eps inside the root": ("np.sqrt(v, out=spare)", "np.sqrt(v + eps, out=spare)"),
    "eps before the correction": (
        "spare /= root\n        spare += eps",
        "spare += eps\n        spare /= root",
    ),
    "no eps": ("        spare += eps\n", ""),
    "no root": ("np.sqrt(v, out=spare)", "spare[...] = v"),
    "v of the absolute gradient": (
        "np.multiply(g, g, out=spare, dtype=m.dtype)",
        "np.abs(g, out=spare)",
    ),
    "v of m": ("np.multiply(g, g, out=spare", "np.multiply(m, m, out=spare"),
    "m is a sum": ("m *= beta1", "m *= 1"),
    "m with beta2": ("m *= beta1", "m *= beta2"),
    "m forgets": ("m += spare", "m[...] = spare"),
    "v is a sum": ("v *= beta2", "v *= 1"),
    "v weighs the gradient by 1": ("        spare *= 1 - beta2\n", ""),
    "uphill": ("p -= spare", "p += spare"),
    "only the start of a block": ("(tuple(a[part] for", "(tuple(a[part][:100] for"),
}
SGD_MUTANTS = {
    "decay apart from the velocity": (
        'np.multiply(p.array, group["weight_decay"], out=g)',
        'p.array *= 1 - lr * group["weight_decay"]; g *= 0',
    ),
    "decay against the gradient": ("g += grad", "np.subtract(grad, g, out=g)"),
    "velocity is a mean": ("velocity *= momentum", "velocity *= momentum; g *= 1 - momentum"),
    "velocity without memory": ("velocity *= momentum", "velocity *= 0"),
    "first velocity is dampened": (
        "velocity = g.copy()",
        'velocity = g * (1 - group["dampening"])',
    ),
    "no dampening": ('g *= 1 - group["dampening"]', "pass"),
    "rate inside the velocity": ("velocity += g", "velocity += g * lr / 0.1"),
    "nesterov is plain": ("[(g, lr), (velocity, lr * momentum)]", "[(velocity, lr)]"),
    "nesterov without the factor": ("(velocity, lr * momentum)]", "(velocity, lr)]"),
    "nesterov without the gradient": (
        "[(g, lr), (velocity, lr * momentum)]",
        "[(velocity, lr * momentum)]",
    ),
    "always nesterov": ('if group["nesterov"] else', "if momentum else"),
    "uphill": ("p.array -= g", "p.array += g"),
}
LAST = "_adamw_step(p, grad, state, group, 0.0)"
ADAM_MUTANTS = {
    "no decay": ("decayed += grad", "decayed[...] = grad"),
    "decay decoupled": (LAST, '_adamw_step(p, p.grad.array, state, group, group["weight_decay"])'),
    "decay twice": (LAST, '_adamw_step(p, grad, state, group, group["weight_decay"])'),
    "always step 1": ('state["step"] += 1', 'state["step"] = 1'),
    "betas exchanged": ('beta1, beta2 = group["betas"]', 'beta2, beta1 = group["betas"]'),
    "the gradient is changed": ("decayed = self._spare_like(p.array)", "decayed = grad"),
}  # fmt: skip


@pytest.mark.parametrize("mutant", ADAMW_MUTANTS)
def test_a_wrong_adamw_fails(mutant):
    wrong = mutated(reference, *ADAMW_MUTANTS[mutant])
    with replace_kernel("adamw_step", wrong.adamw_step), pytest.raises(AssertionError):
        check(adam.AdamW, adamw_formula, **ADAM_SETTINGS)


@pytest.mark.parametrize("mutant", SGD_MUTANTS)
def test_a_wrong_sgd_fails(mutant):
    wrong = mutated(sgd, *SGD_MUTANTS[mutant])
    with pytest.raises(AssertionError):
        _check_all_settings(wrong.SGD)


def _check_all_settings(sgd_class):
    for settings in SGD_SETTINGS:
        check(sgd_class, sgd_formula, **settings)


@pytest.mark.parametrize("mutant", ADAM_MUTANTS)
def test_a_wrong_adam_fails(mutant):
    wrong = mutated(adam, *ADAM_MUTANTS[mutant])
    with pytest.raises(AssertionError):
        check(wrong.Adam, coupled_formula, **ADAM_SETTINGS)


def test_the_mutants_differ_from_the_truth_in_their_one_place_alone():
    """Recompiled but unchanged, the sources pass: what fails above is the change."""
    same = mutated(reference, "p -= spare", "p -= +spare")
    with replace_kernel("adamw_step", same.adamw_step):
        check(adam.AdamW, adamw_formula, **ADAM_SETTINGS)
    check(mutated(sgd, "p.array -= g", "p.array -= +g").SGD, sgd_formula, **SGD_SETTINGS[3])
    check(
        mutated(adam, "decayed += grad", "decayed += +grad").Adam, coupled_formula, **ADAM_SETTINGS
    )


@pytest.mark.parametrize("decoupled", [True, False])
def test_zero_gradient_moves_only_what_decays(decoupled):
    p = tg.tensor(np.full(3, 2.0), requires_grad=True)
    p.grad = tg.tensor(np.zeros(3))
    optimizer = (adam.AdamW if decoupled else adam.Adam)([p], lr=0.1, weight_decay=0.5)
    optimizer.step()
    # Decoupled: 2 (1 - 0.05). Coupled: the first step of Adam has size lr, whatever the decay.
    np.testing.assert_allclose(p.array, 1.9, rtol=0, atol=1e-8)
    optimizer.param_groups[0]["weight_decay"] = 0.0
    before = p.array.copy()
    p.grad = tg.tensor(np.zeros(3))
    optimizer.step()
    assert np.array_equal(p.array, before) == decoupled


def test_the_size_of_adams_first_step_is_the_rate():
    p = tg.tensor(np.array([1.0, 1.0, 1.0]), requires_grad=True)
    p.grad = tg.tensor(np.array([1e-3, -5.0, 1e4]))
    adam.Adam([p], lr=0.25).step()
    np.testing.assert_allclose(p.array, [0.75, 1.25, 0.75], atol=1e-5)
