"""`import tinygrad_llm as tg` is enough to reach every room."""

import subprocess
import sys

import pytest

import tinygrad_llm as tg


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_rooms_are_there_at_first_use_and_not_before():
    # A process of its own: here the rooms are loaded already.
    code = (
        "import sys, tinygrad_llm as tg\n"
        "assert 'tinygrad_llm.nn' not in sys.modules\n"
        "print(tg.nn.Linear(3, 2).weight.shape, tg.optim.SGD.__name__, tg.functional.relu.__name__)"
    )
    done = run(code)
    assert done.stdout == "(2, 3) SGD relu\n", done.stderr


@pytest.mark.parametrize("room", tg._ROOMS)
def test_every_room_that_is_named_is_there(room):
    assert getattr(tg, room).__name__ == f"tinygrad_llm.{room}"
    assert tg.__getattr__(room) is getattr(tg, room)


def test_a_typo_names_itself():
    with pytest.raises(AttributeError, match="module 'tinygrad_llm' has no attribute 'optin'"):
        tg.optin  # noqa: B018


def test_functional_at_pytorchs_address_sees_replaced_parts():
    import tinygrad_llm.functional
    import tinygrad_llm.nn.functional as F
    from tinygrad_llm.replace import replace

    assert F.softmax is tinygrad_llm.functional.softmax
    with replace("softmax", lambda x, dim: x):
        assert F.softmax is tinygrad_llm.functional.softmax
        assert F.softmax(tg.tensor([5.0]), dim=0).item() == 5
    assert "softmax" in dir(F)
    with pytest.raises(AttributeError, match="sofmax"):
        F.sofmax  # noqa: B018
