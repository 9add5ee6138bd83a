"""The graph walk: order, cost, memory, errors and hooks; failures of other engines as tests."""

import gc
import sys
import threading
import time
import tracemalloc
import weakref

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import autograd
from tinygrad_llm.autograd import Function
from tinygrad_llm.autograd.walk import unbroadcast


def leaf(*values, dtype=tg.float64):
    return tg.tensor(list(values), dtype=dtype, requires_grad=True)


class Counting:
    """An observer that counts how often each operation runs backward."""

    def __init__(self):
        self.backwards = 0

    def forward(self, node, arrays, options):
        return node.forward(*arrays, **options)

    def backward(self, node, douts):
        self.backwards += 1
        return node.backward(*douts)

    def __enter__(self):
        autograd.watch.observer = self
        return self

    def __exit__(self, *error):
        autograd.watch.observer = None


# -- order and cost --


def test_a_value_used_twice_gets_both_gradients():
    a = leaf(1.0)
    b = a + a
    c = b + b
    c.backward()
    assert a.grad.tolist() == [4.0]


@pytest.mark.parametrize("short_first", [False, True])
def test_a_long_and_a_short_way_to_the_same_value(short_first):
    # A walk that runs a node when its first gradient arrives gives 2 instead of 2 + 8.
    a = leaf(3.0)
    b = a * 2
    c = b * 1
    for _ in range(3):
        c = c * 1
    (b + c * 4 if short_first else c * 4 + b).backward()
    assert a.grad.tolist() == [10.0]


def test_a_chain_of_ten_thousand_operations():
    limit = sys.getrecursionlimit()
    x = leaf(1.0)
    y = x
    for _ in range(10_000):
        y = y + 1
    start = time.perf_counter()
    y.backward()
    assert x.grad.tolist() == [1.0]
    assert time.perf_counter() - start < 10
    assert sys.getrecursionlimit() == limit


def test_a_chain_of_ten_thousand_goes_away_without_a_backward():
    x = leaf(1.0)
    y = x * 2
    node = weakref.ref(y.grad_fn)
    for _ in range(10_000):
        y = y * 1.0
    del y  # must neither overflow the C stack nor leave anything
    assert node() is None


def test_a_ladder_of_residuals_visits_every_node_once():
    # x -> x + f(x), 64 times: 2^64 paths, 192 nodes.
    x = leaf(0.5, -0.25)
    y = x
    for _ in range(64):
        y = y + (y * 0.5).tanh()
    with Counting() as counting:
        start = time.perf_counter()
        y.sum().backward()
    assert counting.backwards == 3 * 64 + 1
    assert time.perf_counter() - start < 10
    assert np.isfinite(x.grad.array).all()


def test_time_grows_linearly_with_depth():
    def visits(depth):
        x = leaf(0.5)
        y = x
        for _ in range(depth):
            y = y + y * 0.5
        with Counting() as counting:
            y.backward()
        return counting.backwards

    assert [visits(n) for n in (10, 20, 40)] == [20, 40, 80]


def test_a_wide_fan_in_is_summed():
    x = leaf(2.0)
    total = sum([x * float(k) for k in range(100)], tg.zeros(1, dtype=tg.float64))
    total.backward()
    assert x.grad.tolist() == [4950.0]


def test_gradients_accumulate_over_calls_and_leave_others_alone():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (x * y).sum().backward()
    first = x.grad
    (x * y).sum().backward()
    assert x.grad is first  # added to in place, as in PyTorch
    assert x.grad.tolist() == [6.0, 8.0]
    x.grad = None
    (x * 5).sum().backward()
    assert x.grad.tolist() == [5.0, 5.0]
    assert y.grad.tolist() == [2.0, 4.0]


def test_a_read_only_gradient_is_replaced_not_written_to():
    x = leaf(1.0, 2.0)
    x.grad = tg.Tensor(np.broadcast_to(np.float64(7.0), (2,)))
    x.sum().backward()
    assert x.grad.tolist() == [8.0, 8.0]


def test_part_of_a_graph_that_no_gradient_reaches():
    x, y = leaf(1.0, 2.0, 3.0), leaf(4.0)
    a, b = (x * y).split([1, 2])  # b gets no gradient: its share counts as zero
    a.backward()
    assert x.grad.tolist() == [4.0, 0.0, 0.0]
    assert y.grad.tolist() == [1.0]
    assert b.requires_grad


class Stopping(Function):
    """Passes nothing on to its first argument."""

    def forward(self, a, b):
        return a + b

    def backward(self, dout):
        return None, dout


def test_a_branch_without_gradient_does_not_hold_up_the_rest():
    x = leaf(1.0)
    y = x * 2
    (Stopping.apply(y * 3, y) + y).backward()
    assert x.grad.tolist() == [4.0]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_shared_gradient_is_not_added_to_in_place(swapped):
    # Add passes one array on to both of its operands, and each of them gets more, of its own.
    x, y = leaf(1.0, 2.0), leaf(1.0, 2.0)
    a, b = x * 1, y * 1
    both = (a + b).sum()
    more = (a * 3).sum() + (b * 5).sum()
    (both + more if swapped else more + both).backward()
    assert x.grad.tolist() == [4.0, 4.0]
    assert y.grad.tolist() == [6.0, 6.0]


# -- memory --


def test_memory_falls_during_the_walk():
    n, depth = 50_000, 40
    x = tg.randn(n, requires_grad=True)
    y = x
    for _ in range(depth):
        y = y.sin()
    loss = y.sum()
    del y
    gc.collect()
    tracemalloc.start()
    try:
        loss.backward()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Saved inputs go as gradients come: the peak of what is new is a few arrays, not `depth`.
    assert peak < 8 * x.nbytes


def test_what_the_walk_has_passed_is_freed_while_it_goes_on():
    x = leaf(*np.linspace(0, 1, 100))
    first = y = x * 1
    saved = []
    for _ in range(10):
        y = y.sin()
        saved.append(weakref.ref(y.array))
    alive = []
    first.register_hook(lambda _: alive.append(sum(ref() is not None for ref in saved)))
    loss = y.sum()
    del y
    assert sum(ref() is not None for ref in saved) == 9  # the inputs of the later ones
    loss.backward()
    assert alive[0] <= 1


def test_the_graph_is_gone_after_backward_even_if_the_loss_is_kept():
    x = leaf(1.0, 2.0)
    h = x.exp()
    saved = weakref.ref(h.array)
    node = weakref.ref(h.grad_fn)
    loss = h.sum()
    del h
    assert saved() is not None
    loss.backward()
    assert saved() is None
    assert node() is None
    assert loss.item() > 0


def test_intermediate_tensors_are_not_kept_by_the_graph():
    x = leaf(1.0, 2.0)
    h = x + 1
    gone = weakref.ref(h)
    loss = (h * 3).sum()
    del h
    assert gone() is None
    loss.backward()


def test_nothing_is_saved_under_no_grad():
    x = leaf(1.0, 2.0)
    with tg.no_grad():
        y = x.exp()
    assert y.grad_fn is None
    assert not y.requires_grad


# -- errors --


def test_backward_twice_says_what_to_do():
    x = leaf(1.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"already walked.*retain_graph=True"):
        y.backward()
    assert x.grad.tolist() == [2.0]


def test_a_second_loss_over_a_freed_part_adds_nothing():
    x = leaf(1.0)
    shared = x * x
    a, b = shared * 2, (shared * 3).sum()
    a.sum().backward()
    before = x.grad.tolist()
    with pytest.raises(RuntimeError, match="already walked"):
        b.backward()
    assert x.grad.tolist() == before


def test_retain_graph_allows_a_second_walk():
    x = leaf(1.0, 2.0)
    y = (x * x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [6.0, 24.0]


def test_backward_of_what_is_no_single_number_or_has_no_gradient():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"shape \(2,\) is not a single number"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        tg.ones(1).backward()
    with pytest.raises(ValueError, match=r"grad has shape \(3,\), the tensor \(2,\)"):
        (x * 2).backward(tg.ones(3))
    (x * 2).backward([1, 10])
    assert x.grad.tolist() == [2.0, 20.0]
    (x * 2).backward(gradient=tg.ones(2))
    assert x.grad.tolist() == [4.0, 22.0]


class WrongShape(Function):
    def forward(self, x):
        return x * 2

    def backward(self, dout):
        return dout[:1]


class WrongDtype(Function):
    def forward(self, x):
        return x * 2

    def backward(self, dout):
        return dout.astype(np.float32)


class TooFew(Function):
    def forward(self, a, b):
        return a + b

    def backward(self, dout):
        return dout


class TooMany(Function):
    def forward(self, a):
        return a * 2

    def backward(self, dout):
        return dout, dout


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (WrongShape, 1, r"WrongShape.backward: the gradient of 'x' is float64\[1\].*float64\[2\]"),
        (WrongDtype, 1, r"the gradient of 'x' is float32\[2\], but the argument is float64\[2\]"),
        (TooFew, 2, r"TooFew.backward returned 1 gradient\(s\) for 2 argument\(s\)"),
        (TooMany, 1, r"TooMany.backward returned 2 gradient\(s\) for 1 argument\(s\)"),
    ],
)
@pytest.mark.parametrize("behind", [False, True], ids=["leaf", "node"])
def test_the_engine_holds_backward_to_its_contract(function, arguments, message, behind):
    x = leaf(1.0, 2.0)
    given = [x * 1 if behind else x] * arguments
    with pytest.raises(RuntimeError, match=message):
        function.apply(*given).sum().backward()


def test_a_function_that_is_not_written_says_so():
    class Half(Function):
        def forward(self, x):
            return x

    with pytest.raises(NotImplementedError, match="Function.forward is not written"):
        Function.apply(leaf(1.0))
    with pytest.raises(NotImplementedError, match="Half.backward is not written"):
        Half.apply(leaf(1.0)).backward()
    with pytest.raises(TypeError, match="Half.apply: at least one argument must be a tensor"):
        Half.apply(1.0)


def test_integers_and_masks_carry_no_gradient():
    x = leaf(3.0, 1.0, 2.0)
    values, indices = x.sort()
    assert values.requires_grad
    assert not indices.requires_grad
    assert not (x > 2).requires_grad
    with pytest.raises(TypeError, match="only floating point has gradients, not int64"):
        tg.Tensor([1, 2], requires_grad=True)
    with pytest.raises(TypeError, match="int64 carries no gradient"):
        tg.arange(3).requires_grad_()


def test_unbroadcast_undoes_broadcasting():
    rng = np.random.default_rng(0)
    for shape, onto in [((3,), (2, 3)), ((2, 1), (2, 3)), ((), (2, 3)), ((1, 3), (4, 2, 3))]:
        gradient = rng.standard_normal(onto)
        got = unbroadcast(gradient, shape)
        assert got.shape == shape
        # <broadcast(x), g> = <x, unbroadcast(g)> for every x: that is what an adjoint is.
        x = rng.standard_normal(shape)
        np.testing.assert_allclose((np.broadcast_to(x, onto) * gradient).sum(), (x * got).sum())


# -- hooks --


def test_a_hook_sees_the_whole_gradient_of_an_intermediate_tensor():
    x = leaf(1.0, 2.0)
    h = x * 3
    seen = []
    h.register_hook(lambda g: seen.append(g.tolist()))
    (h + h).sum().backward()
    assert seen == [[2.0, 2.0]]
    assert x.grad.tolist() == [6.0, 6.0]


@pytest.mark.parametrize("on_leaf", [True, False])
def test_a_hook_can_replace_the_gradient_and_be_removed(on_leaf):
    x = leaf(1.0, 2.0)

    def run(removed):
        x.grad = None
        h = x if on_leaf else x * 1
        handle = h.register_hook(lambda g: g * 10)
        if removed:
            handle.remove()
            handle.remove()  # twice is no error
        (h * 2).sum().backward()
        handle.remove()
        return x.grad.tolist()

    assert run(removed=False) == [20.0, 20.0]
    assert run(removed=True) == [2.0, 2.0]


def test_hooks_run_in_order_and_see_each_others_gradient():
    x = leaf(1.0)
    seen = []
    x.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: seen.append(g.item()))
    (x * 5).backward()
    assert seen == [6.0]
    assert x.grad.tolist() == [6.0]


def test_what_a_hook_keeps_or_changes_is_its_own():
    x = leaf(1.0, 2.0)
    kept = []

    def vandal(gradient):
        kept.append(gradient)
        gradient.array[...] = 99

    x.register_hook(vandal)
    h = x + 0
    h.register_hook(vandal)
    for _ in range(2):
        (x + 0).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    assert [k.tolist() for k in kept] == [[99.0, 99.0]] * 2


@pytest.mark.parametrize("on_leaf", [True, False])
def test_a_hook_that_returns_another_shape_is_told(on_leaf):
    x = leaf(1.0, 2.0)
    h = x if on_leaf else x * 1
    h.register_hook(lambda g: g.sum())
    with pytest.raises(RuntimeError, match=r"hook returned a gradient float64\[\] for .*\[2\]"):
        (h * 2).sum().backward()


def test_hooks_of_several_outputs_keep_apart():
    x = leaf(1.0, 2.0, 3.0)
    a, b = x.split([1, 2])
    seen = {}
    a.register_hook(lambda g: seen.setdefault("a", g.tolist()))
    b.register_hook(lambda g: seen.setdefault("b", g.tolist()))
    (a.sum() * 2 + b.sum() * 3).backward()
    assert seen == {"a": [2.0], "b": [3.0, 3.0]}


def test_retain_grad_keeps_the_gradient_of_an_intermediate_tensor():
    x = leaf(1.0, 2.0)
    h = x * 3
    h.retain_grad()
    h.retain_grad()  # twice is once
    loss = (h * h).sum()
    loss.backward(retain_graph=True)
    assert h.grad.tolist() == [6.0, 12.0]
    loss.backward()
    assert h.grad.tolist() == [12.0, 24.0]  # accumulates, as in PyTorch
    plain = x * 3
    plain.sum().backward()
    assert plain.grad is None
    x.retain_grad()  # a leaf keeps its own anyway
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        tg.ones(2).retain_grad()
    with pytest.raises(RuntimeError, match="register_hook: this tensor does not require"):
        tg.ones(2).register_hook(print)


# -- recording or not --


def test_no_grad_and_enable_grad_nest():
    assert tg.is_grad_enabled()
    with tg.no_grad():
        assert not tg.is_grad_enabled()
        with tg.enable_grad():
            assert tg.is_grad_enabled()
            with tg.no_grad():
                assert not tg.is_grad_enabled()
            assert tg.is_grad_enabled()
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()


def test_an_error_inside_restores_the_mode():
    with pytest.raises(KeyError), tg.no_grad():
        raise KeyError
    assert tg.is_grad_enabled()


@pytest.mark.parametrize("decorate", [tg.no_grad, tg.no_grad(), tg.inference_mode()])
def test_no_grad_decorates_functions(decorate):
    @decorate
    def twice(x):
        """Doc."""
        assert not tg.is_grad_enabled()
        return x * 2

    assert not twice(leaf(1.0)).requires_grad
    assert twice.__doc__ == "Doc."
    assert tg.is_grad_enabled()


def test_no_grad_decorates_generators_step_by_step():
    @tg.no_grad()
    def steps():
        sent = yield tg.is_grad_enabled()
        assert sent == "hello"
        yield tg.is_grad_enabled()
        return "done"

    run = steps()
    assert next(run) is False
    assert tg.is_grad_enabled()  # the caller between the steps records as before
    assert run.send("hello") is False
    with pytest.raises(StopIteration) as stop:
        next(run)
    assert stop.value.value == "done"
    closed = []

    @tg.no_grad()
    def guarded():
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    run = guarded()
    next(run)
    run.close()
    assert closed == [True]


def test_enable_grad_decorates_inside_no_grad():
    @tg.enable_grad()
    def f(x):
        return x * 2

    with tg.no_grad():
        assert f(leaf(1.0)).requires_grad


def test_set_grad_enabled_switches_at_once_and_as_a_block():
    try:
        tg.set_grad_enabled(False)
        assert not tg.is_grad_enabled()
    finally:
        tg.set_grad_enabled(True)
    with tg.set_grad_enabled(False):
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()

    @tg.set_grad_enabled(False)
    def f():
        return tg.is_grad_enabled()

    assert tg.is_grad_enabled()
    assert f() is False


def test_the_mode_belongs_to_its_thread():
    seen = []
    with tg.no_grad():
        thread = threading.Thread(target=lambda: seen.append(tg.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_a_decorated_function_runs_in_several_threads_at_once():
    barrier = threading.Barrier(2)

    @tg.no_grad()
    def f():
        barrier.wait(timeout=20)
        inside = tg.is_grad_enabled()
        barrier.wait(timeout=20)
        return inside

    results = []

    def run(before):
        with tg.set_grad_enabled(before):
            inside = f()
            results.append((inside, tg.is_grad_enabled() == before))

    threads = [threading.Thread(target=run, args=(before,)) for before in (True, False)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [(False, True), (False, True)]


def test_backward_in_two_threads_over_their_own_graphs():
    xs = [leaf(*np.linspace(0, 1, 50)) for _ in range(2)]

    def run(x):
        for _ in range(20):
            ((x * x).sin() * x).sum().backward()

    threads = [threading.Thread(target=run, args=(x,)) for x in xs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    np.testing.assert_allclose(xs[0].grad.array, xs[1].grad.array)


def test_detach_stops_the_gradient():
    x = leaf(2.0)
    y = x * 3
    d = y.detach()
    assert d.is_leaf
    assert not d.requires_grad
    assert np.shares_memory(d.array, y.array)
    (y + d * 10).backward()
    assert x.grad.tolist() == [3.0]


# -- autograd.grad --


def test_grad_gives_gradients_and_touches_nothing():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    h = x * w
    loss = (h * h).sum()
    dx, dh = autograd.grad(loss, [x, h], retain_graph=True)
    assert dh.tolist() == [6.0, 16.0]
    assert dx.tolist() == [18.0, 64.0]
    assert x.grad is None
    assert w.grad is None
    (dw,) = autograd.grad(loss, w)
    assert dw.tolist() == [6.0, 32.0]
    y = x * 2
    (dx,) = autograd.grad(y, x, grad_output=[1.0, 10.0])
    assert dx.tolist() == [2.0, 20.0]
    (same,) = autograd.grad(x, x, grad_output=tg.ones(2))
    assert same.tolist() == [1.0, 1.0]


def test_grad_says_what_is_wrong():
    x, other = leaf(1.0, 2.0), leaf(3.0)
    with pytest.raises(RuntimeError, match=r"does not depend on inputs\[1\]"):
        autograd.grad((x * 2).sum(), [x, other])
    assert autograd.grad((x * 2).sum(), [x, other], allow_unused=True)[1] is None
    with pytest.raises(RuntimeError, match=r"inputs\[0\] does not require a gradient"):
        autograd.grad((x * 2).sum(), [tg.ones(2)])
    with pytest.raises(RuntimeError, match=r"output of shape \(2,\) needs a grad_output"):
        autograd.grad(x * 2, x)
    with pytest.raises(ValueError, match=r"grad_output is \(3,\), output \(2,\)"):
        autograd.grad(x * 2, x, tg.ones(3))


def test_grad_adds_up_over_several_uses():
    x = leaf(2.0)
    assert autograd.grad((x * x + x * 3).sum(), x)[0].tolist() == [7.0]
    h = x * 1
    assert autograd.grad((h * h + h).sum(), h)[0].tolist() == [5.0]
