"""Changes in place: right when allowed, an error that names the value when backward needs it."""

import gc

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm.autograd import changes


def leaf(*values):
    return tg.tensor(list(values), dtype=tg.float64, requires_grad=True)


def test_a_saved_input_that_changed_is_named():
    x = leaf(1.0, 2.0, 3.0)
    h = x * 1
    y = h.sin()
    h += 1
    with pytest.raises(
        RuntimeError,
        match=r"Sin needs its input 'x' of shape \(3,\).*changed in place.*\(\+=\)",
    ):
        y.sum().backward()
    assert x.grad is None


def test_a_saved_output_that_changed_is_named():
    x = leaf(1.0, 2.0)
    y = x.exp()
    y *= 2
    with pytest.raises(RuntimeError, match=r"Exp needs its output 'out'"):
        y.sum().backward()


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h[0].add_(1),
        lambda h: h.reshape(3, 2).mul_(2),
        lambda h: h.transpose(0, 1).zero_(),
        lambda h: h.detach().fill_(5),
        lambda h: h.data.clamp_(0, 1),
        lambda h: h[:, 1:].copy_(7),
        lambda h: h.__setitem__((0, 1), 9.0),
        lambda h: h.__setitem__(h > 0, 9.0),
        lambda h: h.split(1)[1].div_(2),
        lambda h: h.unbind(1)[2].sub_(1),
        lambda h: h.masked_fill_(h > 0, 0.0),
    ],
)
def test_a_change_through_any_view_is_noticed(change):
    x = leaf(0.1, 0.2, 0.3, -0.4, 0.5, 0.6)
    h = (x * 1).reshape(2, 3)
    y = h.cos()
    with tg.no_grad():
        change(h)
    with pytest.raises(RuntimeError, match="Cos needs its input 'x'"):
        y.sum().backward()


def test_a_view_is_noticed_when_its_base_changes():
    h = leaf(1.0, 2.0, 3.0) * 1
    y = h[1:].sin()
    with tg.no_grad():
        h += 1
    with pytest.raises(RuntimeError, match="Sin needs its input"):
        y.sum().backward()


def test_memory_that_numpy_owns_and_shares_is_one():
    raw = np.frombuffer(bytearray(np.arange(4.0).tobytes()))  # its base is no array
    a, b = tg.from_numpy(raw), tg.from_numpy(raw[1:])
    w = leaf(1.0, 2.0, 3.0, 4.0)
    y = (a * w).sum()
    b += 1
    with pytest.raises(RuntimeError, match="Mul needs its input 'a'"):
        y.backward()


def test_an_optimiser_step_between_forward_and_backward_is_noticed():
    w = leaf(1.0, 2.0)
    w.name = "lm_head.weight"
    loss = (w * w).sum()
    w.array -= 0.1  # as an optimiser does
    w.mark_changed("SGD.step")
    with pytest.raises(RuntimeError, match=r"changed in place since then \(SGD.step of 'lm_head"):
        loss.backward()


def test_changes_that_backward_does_not_need_are_allowed():
    x = leaf(1.0, 2.0)
    h = x * 2
    s = h + 1  # Add saves nothing
    h += 5
    (s.sum() + h.sum()).backward()
    assert x.grad.tolist() == [4.0, 4.0]
    # Another tensor's change is none of this graph's business.
    other = tg.ones(3)
    y = (x * x).sum()
    other += 1
    y.backward()


def test_a_change_before_the_forward_pass_is_no_error():
    h, other = tg.zeros(3, dtype=tg.float64), tg.ones(2)
    h += 2
    w = leaf(1.0, 2.0, 3.0)
    y = (h * w).sum()
    other += 1  # some change after it, so that backward looks
    y.backward()
    assert w.grad.tolist() == [2.0, 2.0, 2.0]


def test_in_place_arithmetic_is_recorded():
    for change, slope in [
        (lambda h, w: h.__iadd__(w), 1),
        (lambda h, w: h.__isub__(w), -1),
        (lambda h, w: h.add_(w, alpha=4), 4),
    ]:
        x, w = leaf(1.0, 2.0), leaf(5.0, 7.0)
        h = x * 3
        result = change(h, w)
        assert result is h
        h.sum().backward()
        assert x.grad.tolist() == [3.0, 3.0]
        assert w.grad.tolist() == [slope, slope]


def test_in_place_product_keeps_what_it_needs():
    x, w = leaf(1.0, 2.0), leaf(5.0, 7.0)
    h = x * 3
    h *= w  # dw needs the old h
    h /= 2
    h **= 2
    h.sum().backward()
    # h = (3 x w / 2)^2
    np.testing.assert_allclose(x.grad.array, 2 * 1.5**2 * np.array([1 * 25, 2 * 49]))
    np.testing.assert_allclose(w.grad.array, 2 * 1.5**2 * np.array([1 * 5, 4 * 7]))


def test_writing_into_a_buffer_makes_it_part_of_the_graph():
    x = leaf(1.0, 2.0)
    out = tg.zeros(2, 3, dtype=tg.float64)
    out[0, 1:] = x * 2
    out[1] = x.sum()
    (out * tg.tensor(np.arange(6.0).reshape(2, 3))).sum().backward()
    assert x.grad.tolist() == [2 * 1 + 12, 2 * 2 + 12]


def test_what_was_overwritten_gets_no_gradient():
    x = leaf(1.0, 2.0, 3.0)
    h = x * 2
    h[1] = 0.0
    h.sum().backward()
    assert x.grad.tolist() == [2.0, 0.0, 2.0]
    x.grad = None
    h = x * 2
    h.zero_()
    h.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]
    x.grad = None
    h, source = x * 2, leaf(1.0)
    h.copy_(source)
    h.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0]
    assert source.grad.tolist() == [3.0]


def test_a_leaf_that_requires_a_gradient_is_changed_under_no_grad_only():
    w = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"\+=: in-place change of a leaf.*no_grad"):
        w += 1
    with pytest.raises(RuntimeError, match="assignment: in-place change of a leaf"):
        w[0] = 3
    with tg.no_grad():
        w += 1
        w[0] = 9
    assert w.tolist() == [9.0, 3.0]
    assert w.is_leaf
    assert w.requires_grad


def test_a_view_with_an_outdated_history_is_refused_not_silently_wrong():
    x, w = leaf(1.0, 2.0), leaf(5.0, 7.0)
    h = x * 1
    view = h[:1]
    h += w
    with pytest.raises(RuntimeError, match="changed in place .* through another tensor"):
        view * 2
    # Taken again, it knows.
    h[:1].sum().backward()
    assert w.grad.tolist() == [1.0, 0.0]

    base = tg.zeros(2, 2, dtype=tg.float64)
    base[0][1] = leaf(3.0)[0]  # the write goes to a view; base would not know of it
    with pytest.raises(RuntimeError, match="through another tensor"):
        base.sum()


def test_views_share_memory_as_in_pytorch():
    a = tg.zeros(2, 3)
    for view in (a[1], a.reshape(3, 2), a.T, a.flatten(), a[0, 1], a.unsqueeze(0), a.detach()):
        view += 1
    copies = (a.clone(), a[[0, 1]], a + 0, a.repeat(1, 1), a.float().flip(0))
    before = a.tolist()
    for copy in copies:
        copy += 100
    assert a.tolist() == before


def test_what_does_not_fit_is_refused():
    a, b, c = tg.zeros(3), tg.arange(3), tg.zeros(2, dtype=tg.bool)
    with pytest.raises(ValueError, match=r"\+=: the result has shape \(2, 3\).*\(3,\)"):
        a += tg.ones(2, 3)
    with pytest.raises(TypeError, match="float32 result does not fit into int64"):
        b += 0.5
    with pytest.raises(TypeError, match="int64 result does not fit into bool"):
        c += 1
    d = tg.zeros(2)
    d += tg.ones(2, dtype=tg.float64)
    assert d.dtype == tg.float32
    with pytest.raises(ValueError, match=r"assignment: \(4,\) into shape \(3,\)"):
        tg.zeros(3)[:] = tg.ones(4)
    with pytest.raises(IndexError, match=r"assignment: shape \(3,\).*out of bounds"):
        tg.zeros(3)[5] = 1
    with pytest.raises(ValueError, match="read-only"):
        tg.zeros(1).expand(3).add_(1)


def test_a_wider_operand_keeps_dtype_and_gradient():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    w = leaf(3.0, 4.0)
    h = x * 1
    h += w
    assert h.dtype == tg.float32
    h.sum().backward()
    assert x.grad.dtype == tg.float32
    assert w.grad.dtype == tg.float64


def test_assignment_casts_as_pytorch_does():
    a = tg.arange(4)
    a[0] = 2.7
    a[1:3] = tg.tensor([8.2, 9.9])
    assert a.tolist() == [2, 8, 9, 3]
    x = leaf(2.0)
    b = tg.zeros(2)
    b[0] = x[0]
    b.sum().backward()
    assert x.grad.dtype == tg.float64


def test_the_book_of_changes_forgets_memory_that_is_gone():
    gc.collect()
    before = len(changes.written), len(changes.recorded)
    a, x = tg.zeros(3), leaf(1.0)
    a += 1
    h = x * 1
    h += x
    assert len(changes.written) >= before[0] + 2
    assert len(changes.recorded) == before[1] + 1
    del a, h
    gc.collect()
    assert (len(changes.written), len(changes.recorded)) == before


def test_other_in_place_operators():
    a = tg.arange(1, 5)
    a //= 2
    assert a.tolist() == [0, 1, 1, 2]
    a %= 2
    assert a.tolist() == [0, 1, 1, 0]
    a -= 1
    a *= 3
    assert a.tolist() == [-3, 0, 0, -3]
    b = tg.ones(2)
    b /= 4
    b.sub_(tg.ones(2), alpha=2)
    assert b.tolist() == [-1.75, -1.75]
    assert a.add_(1) is a
