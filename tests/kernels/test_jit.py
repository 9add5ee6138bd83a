"""Without Numba, with a broken one, or with no place to keep compiled code: everything works."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

pytest.importorskip("numba")

USE = """
import warnings
warnings.simplefilter("always")
import numpy as np
{before}
import tinygrad_llm as tg
import tinygrad_llm.functional as F
x = tg.tensor(np.linspace(-3, 3, 5000, dtype=np.float32), requires_grad=True)
for _ in range(2):
    F.gelu(x).sum().backward()
    F.softmax(x, 0)
from tinygrad_llm.device import kernel
print(kernel("gelu", "gelu_forward").__module__, float(F.gelu(x).sum()))
"""
BROKEN = """
import sys, types
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "numba":
            raise {error}
sys.meta_path.insert(0, Refuse())
"""


def run(before="", **environment):
    found = subprocess.run(
        [sys.executable, "-c", USE.format(before=before)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    module, total = found.stdout.split()
    return module.rpartition(".")[2], float(total), found.stderr


@pytest.fixture(scope="module")
def expected():
    return run(TINYGRAD_LLM_KERNELS="numpy")[1]


def test_numba_is_used_without_a_word(expected, tmp_path):
    module, total, said = run(NUMBA_CACHE_DIR=str(tmp_path))
    assert (module, said) == ("cpu", "")
    assert total == pytest.approx(expected, rel=1e-5)
    assert list(tmp_path.rglob("*.nbi")), "compiled code was not kept"


@pytest.mark.parametrize(
    "error",
    [
        'ModuleNotFoundError("No module named numba", name="numba")',
        'ImportError("Numba needs NumPy 1.26 or less")',
        'OSError("libllvmlite.so: cannot open shared object file")',
    ],
)
def test_no_numba(expected, error):
    module, total, said = run(BROKEN.format(error=error))
    assert module == "reference"
    assert total == expected
    assert said.count("RuntimeWarning") == 1
    assert "Remedy: pip install -U numba" in said


def test_a_compiler_that_fails(expected):
    broken = """
import numba.core.dispatcher as d
def fail(self, sig):
    raise numba.core.errors.LoweringError("LLVM does not know this processor")
import numba
d.Dispatcher.compile = fail
"""
    _, total, said = run(broken)
    assert total == pytest.approx(expected, rel=1e-5)
    assert said.count("RuntimeWarning") == 1
    assert "NumPy's formulas are used" in said


def test_nowhere_to_keep_compiled_code(expected, tmp_path):
    """Numba raises if no folder can be written; it is then compiled for this run only."""
    nowhere = """
import numba.core.caching as c
def none(self, *args):
    raise RuntimeError("cannot cache function: no locator available")
c.FunctionCache.__init__ = none
"""
    module, total, said = run(nowhere)
    assert module == "cpu"
    assert total == pytest.approx(expected, rel=1e-5)
    assert said.count("RuntimeWarning") == 1
    assert "NUMBA_CACHE_DIR" in said


def test_import_leaves_numba_alone():
    code = "import sys, tinygrad_llm, tinygrad_llm.functional; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_change_in_a_helper_is_noticed(monkeypatch):
    """Numba itself looks at the file of the kernel only."""
    from tinygrad_llm.kernels import _jit

    before = _jit._stamp()
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda p: real(p) + b" " * (p.name == "_scalar.py"))
    assert _jit._stamp.__wrapped__() != before


def test_kernels_do_not_compile_for_other_types():
    import numpy as np

    from tinygrad_llm.kernels.softmax import cpu

    with pytest.raises(TypeError, match="No matching definition"):
        cpu._softmax(np.ones((2, 2)), np.ones((2, 2)), 0, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cpu._softmax(np.ones((2, 2), np.float32), np.ones((2, 2), np.float32), 0, 2)
