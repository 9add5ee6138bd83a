"""Modules are plain classes: what is found in them, under which names, and what is not."""

import copy
import itertools

import numpy as np
import pytest

import tinygrad_llm as tg
from tinygrad_llm import nn


class Affine(nn.Module):
    def __init__(self, n=2):
        self.weight = nn.Parameter(tg.ones(n, 3))
        self.bias = nn.Parameter(tg.zeros(n))

    def forward(self, x):
        return x @ self.weight.T + self.bias


class Many(nn.Module):
    def __init__(self):
        self.h = [Affine(1), Affine(2)]
        self.pair = (Affine(3), [nn.Parameter(tg.ones(4))])
        self.by_name = {"de": Affine(5), "en": {"deep": [Affine(6)]}, 7: Affine(7)}
        self.scale = nn.Parameter(tg.ones(8))
        self.table = tg.arange(9)


def names(pairs):
    return [name for name, _ in pairs]


def test_parameters_in_lists_tuples_and_dicts_are_found_by_their_path():
    assert names(Many().named_parameters()) == [
        "scale",  # its own first, then children in order
        "h.0.weight",
        "h.0.bias",
        "h.1.weight",
        "h.1.bias",
        "pair.0.weight",
        "pair.0.bias",
        "pair.1.0",
        "by_name.de.weight",
        "by_name.de.bias",
        "by_name.en.deep.0.weight",
        "by_name.en.deep.0.bias",
        "by_name.7.weight",
        "by_name.7.bias",
    ]


def test_modules_and_children_have_the_names_of_their_places():
    model = Many()
    children = ["h.0", "h.1", "pair.0", "by_name.de", "by_name.en.deep.0", "by_name.7"]
    assert names(model.named_modules()) == ["", *children]
    outer = nn.Sequential(model, Affine())
    assert names(outer.named_children()) == ["0", "1"]
    assert names(outer.named_modules())[:4] == ["", "0", "0.h.0", "0.h.1"]
    assert list(outer.children())[0] is model


def test_plain_tensors_are_buffers_saved_but_not_trained():
    model = Many()
    assert names(model.named_buffers()) == ["table"]
    assert "table" in model.state_dict()
    assert not any(p is model.table for p in model.parameters())


def test_a_leaf_that_wants_a_gradient_is_a_parameter_without_the_class():
    class Plain(nn.Module):
        def __init__(self):
            self.w = tg.ones(2, requires_grad=True)

    assert names(Plain().named_parameters()) == ["w"]


def test_a_frozen_parameter_stays_a_parameter():
    model = Affine()
    model.weight.requires_grad_(False)
    assert names(model.named_parameters()) == ["weight", "bias"]


def test_private_attributes_and_results_of_operations_are_no_state():
    class Looking(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(tg.ones(2))
            self._cache = tg.ones(5)
            self._helper = Affine()

        def forward(self, x):
            self.last = x * self.weight
            return self.last

    model = Looking()
    model(tg.ones(2))
    assert list(model.state_dict()) == ["weight"]


def test_super_init_may_be_forgotten_or_called():
    class Forgets(nn.Module):
        def __init__(self):
            self.layer = Affine()

    class Calls(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = Affine()

    for model in (Forgets(), Calls()):
        assert model.training
        assert names(model.named_parameters()) == ["layer.weight", "layer.bias"]
        assert not model.eval().training
        assert not model.layer.training


def test_attributes_may_be_replaced_and_removed():
    model = Affine()
    model.weight = nn.Parameter(tg.zeros(7, 7))
    del model.bias
    assert [(n, p.shape) for n, p in model.named_parameters()] == [("weight", (7, 7))]


def test_a_typo_raises_and_names_itself():
    model = Affine()
    with pytest.raises(AttributeError, match="Affine has no attribute 'wieght'.*'weight'"):
        model.wieght
    with pytest.raises(AttributeError, match=r"no attribute 'parmeters'.*'parameters'"):
        model.parmeters
    with pytest.raises(AttributeError, match=r"no attribute 'xyzzy'$"):
        model.xyzzy
    assert not hasattr(model, "wieght")
    assert getattr(model, "wieght", 3) == 3


def test_a_typo_in_assigning_shows_when_the_name_is_read():
    model = Affine()
    model.wieght = nn.Parameter(tg.ones(1))
    del model.weight
    with pytest.raises(AttributeError, match=r"'weight'; did you mean 'wieght'"):
        model(tg.ones(3))


def test_an_error_inside_a_property_is_not_hidden():
    class Wrong(Affine):
        @property
        def size(self):
            return self.biass.shape

    with pytest.raises(AttributeError, match=r"'biass'; did you mean 'bias'"):
        Wrong().size


def test_a_call_without_forward_says_so():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty\.forward"):
        Empty()(1)


# -- tied --


class Tied(nn.Module):
    def __init__(self):
        self.wte = nn.Embedding(5, 3)
        self.lm_head = nn.Linear(3, 5, bias=False)
        self.lm_head.weight = self.wte.weight


def test_tied_parameters_come_once_and_count_once_but_have_both_names():
    model = Tied()
    assert names(model.named_parameters()) == ["wte.weight"]
    assert len(list(model.parameters())) == 1
    assert model.num_parameters() == 15
    both = dict(model.named_parameters(remove_duplicate=False))
    assert both["wte.weight"] is both["lm_head.weight"]
    state = model.state_dict()
    assert list(state) == ["wte.weight", "lm_head.weight"]
    assert state["wte.weight"].array is state["lm_head.weight"].array


def test_a_shared_layer_is_one_module_with_two_names():
    class Shared(nn.Module):
        def __init__(self):
            self.encoder = {"embed": Affine()}
            self.shared = self.encoder["embed"]

    model = Shared()
    assert names(model.named_modules()) == ["", "encoder.embed"]
    assert list(model.state_dict()) == [
        "encoder.embed.weight",
        "encoder.embed.bias",
        "shared.weight",
        "shared.bias",
    ]
    assert model.num_parameters() == 8


# -- circles --


def test_a_child_may_know_its_parent():
    model = Many()
    for layer in model.h:
        layer.parent = model
        layer.siblings = model.h
    assert list(model.state_dict()) == list(Many().state_dict())
    assert names(model.named_modules()) == names(Many().named_modules())
    assert "parent" not in repr(model)
    assert model.num_parameters() == Many().num_parameters()


def test_everybody_knows_everybody_in_no_time():
    class Knot(nn.Module):
        def __init__(self, n):
            self.layers = [Affine() for _ in range(n)]
            for layer in self.layers:
                layer.others = self.layers
                layer.ring = {"me": layer}

    model = Knot(30)  # the paths through it are more than 30!
    assert list(model.state_dict()) == [
        f"layers.{i}.{name}" for i in range(30) for name in ("weight", "bias")
    ]
    assert len(repr(model)) < 3000
    model.train(False).zero_grad()
    assert model.summary().count("\n") < 40


def test_a_list_may_hold_itself_and_the_chain_may_be_long():
    class Loop(nn.Module):
        def __init__(self):
            self.stack = [Affine()]
            self.stack.append(self.stack)

    assert list(Loop().state_dict()) == ["stack.0.weight", "stack.0.bias"]
    link = Affine()
    for _ in range(3000):
        above = Affine()
        above.next = link
        link = above
    assert sum(1 for _ in link.modules()) == 3001


# -- what cannot be named --


def test_a_set_of_layers_is_refused_and_a_set_of_words_is_not():
    class WithSet(nn.Module):
        def __init__(self, members):
            self.layer = Affine()
            self.members = members

    assert len(list(WithSet({"a", "b"}).parameters())) == 2
    with pytest.raises(TypeError, match=r"WithSet\.members: a set has no order"):
        list(WithSet({Affine()}).parameters())


def test_two_tensors_of_one_name_are_refused():
    class Twice(nn.Module):
        def __init__(self):
            self.by = {1: tg.ones(2), "1": tg.zeros(3)}

    with pytest.raises(ValueError, match=r"two tensors have the name 'by\.1'"):
        Twice().state_dict()


# -- switches --


def test_train_and_eval_reach_every_module():
    model = Many()
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    model.by_name["en"]["deep"][0].train()
    assert sum(m.training for m in model.modules()) == 1
    model.train()
    assert all(m.training for m in model.modules())
    with pytest.raises(TypeError, match="mode must be True or False, not 'yes'"):
        model.train("yes")


def test_zero_grad_forgets_or_fills():
    model = Affine()
    model(tg.ones(4, 3)).sum().backward()
    kept = model.weight.grad
    model.zero_grad(set_to_none=False)
    assert model.weight.grad is kept
    assert not kept.array.any()
    model.zero_grad()
    assert model.weight.grad is None
    assert model.bias.grad is None


def test_freezing_keeps_gradients_away():
    model = nn.Sequential(Affine(3), Affine(2))
    model[0].requires_grad_(False)
    model(tg.ones(4, 3)).sum().backward()
    assert model[0].weight.grad is None
    assert model[1].weight.grad is not None
    assert model.num_parameters() == 20
    assert model.num_parameters(trainable_only=True) == 8


def test_to_casts_floats_with_their_gradients_and_leaves_integers_and_ties():
    model = Many()
    model.tied = model.scale
    (model.scale * 2).sum().backward()
    parameter = model.scale
    assert model.to(tg.float64) is model
    assert model.scale is parameter is model.tied
    assert parameter.dtype == tg.float64
    assert parameter.grad.dtype == tg.float64
    assert isinstance(parameter, nn.Parameter)
    assert model.table.dtype == tg.int64
    assert model.double().float().half().scale.dtype == tg.float16
    with pytest.raises(TypeError, match="floating-point dtype, not int32"):
        model.to("int32")
    with pytest.raises(RuntimeError, match="no GPU"):
        model.to("cuda")


def test_apply_comes_to_children_before_parents():
    seen = []
    model = nn.Sequential(Affine(), nn.Sequential(Affine()))
    assert model.apply(lambda m: seen.append(m)) is model
    assert seen[-1] is model
    assert seen.index(model[1][0]) < seen.index(model[1])
    assert len(seen) == 4


def test_a_deep_copy_is_apart_and_keeps_ties():
    model = Tied()
    twin = copy.deepcopy(model)
    assert twin.lm_head.weight is twin.wte.weight
    assert isinstance(twin.wte.weight, nn.Parameter)
    assert twin.wte.weight is not model.wte.weight
    twin.wte.weight.array[...] = 7
    assert not (model.wte.weight.array == 7).any()


def test_lookup_by_path():
    model = Many()
    assert model.get_submodule("by_name.en.deep.0") is model.by_name["en"]["deep"][0]
    assert model.get_submodule("") is model
    assert model.get_parameter("h.1.bias") is model.h[1].bias
    with pytest.raises(AttributeError, match=r"no submodule 'h\.2'; did you mean 'h"):
        model.get_submodule("h.2")
    with pytest.raises(
        AttributeError, match=r"no parameter 'h\.1\.bais'; did you mean 'h\.1\.bias'"
    ):
        model.get_parameter("h.1.bais")


def test_prefix_stands_in_front_of_every_name():
    model = Tied()
    assert names(model.named_parameters("model")) == ["model.wte.weight"]
    assert list(model.state_dict(prefix="model")) == ["model.wte.weight", "model.lm_head.weight"]
    assert names(model.named_modules("model")) == ["model", "model.wte", "model.lm_head"]


def test_repr_is_nested_as_in_pytorch():
    model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU(), nn.Dropout(0.25)))
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Linear(2, 3, bias=True)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Dropout(p=0.25)\n"
        "  )\n"
        ")"
    )
    assert "Parameter containing" in repr(nn.Parameter(tg.ones(2)))


def test_summary_counts_what_is_there_once():
    class Model(Tied):
        def __init__(self):
            super().__init__()
            self.h = [nn.LayerNorm(3), nn.Linear(3, 4)]
            self.h[0].requires_grad_(False)
            self.table = tg.zeros(6, dtype=tg.int64)

    lines = Model().summary().splitlines()
    rows = {line.split()[0]: line for line in lines[2:-3]}
    assert "wte" in rows
    assert "Embedding" in rows["wte"]
    assert "weight 5x3" in rows["wte"]
    assert rows["wte"].endswith(" 15")
    assert "weight 5x3 (tied to wte.weight)" in rows["lm_head"]
    assert not rows["lm_head"][-1].isdigit()
    assert "weight 3 (frozen), bias 3 (frozen)" in rows["h.0"]
    assert "weight 4x3, bias 4" in rows["h.1"]
    assert "table 6 (buffer)" in rows["(all)"]
    assert lines[-2] == "parameters: 37 (31 trainable), 148 bytes"
    assert lines[-1] == "buffers: 48 bytes"


def test_a_module_without_anything():
    class Empty(nn.Module):
        pass

    model = Empty()
    assert list(model.parameters()) == []
    assert model.state_dict() == {}
    assert model.num_parameters() == 0
    assert repr(model) == "Empty()"
    assert "parameters: 0" in model.summary()
    model.load_state_dict({})


@pytest.mark.parity
def test_order_and_names_are_pytorchs():
    """An optimiser's state is numbered by this order, so checkpoints depend on it."""
    torch = pytest.importorskip("torch")

    def build(nn, parameter, buffer):
        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.norm = nn.LayerNorm(3)
                self.gain = parameter(2)
                self.layers = nn.ModuleList([nn.Linear(3, 4), nn.Sequential(nn.Linear(2, 2))])
                self.by = nn.ModuleDict({"b": nn.Embedding(2, 3), "a": nn.Linear(1, 1, bias=False)})
                self.last = parameter(5)
                buffer(self, "table", 6)

        return Block()

    theirs = build(
        torch.nn,
        lambda n: torch.nn.Parameter(torch.ones(n)),
        lambda m, name, n: m.register_buffer(name, torch.ones(n)),
    )
    ours = build(
        nn, lambda n: nn.Parameter(tg.ones(n)), lambda m, name, n: setattr(m, name, tg.ones(n))
    )
    assert names(ours.named_parameters()) == names(theirs.named_parameters())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    shapes = itertools.starmap(lambda n, t: (n, tuple(t.shape)), theirs.state_dict().items())
    assert list(shapes) == [(n, t.shape) for n, t in ours.state_dict().items()]
    ours.load_state_dict({name: t.numpy() for name, t in theirs.state_dict().items()})
    np.testing.assert_array_equal(
        ours.layers[1][0].weight.array, theirs.layers[1][0].weight.detach().numpy()
    )
