"""Every mutant of the catalogue is rejected by the tests that it names.

The engine and its tests are copied, one line is changed, and the tests run on the copy in a process
of their own. A mutant whose original line is gone is stale: that fails at once, without `slow`.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _catalogue():
    spec = importlib.util.spec_from_file_location(
        "mutant_catalogue", Path(__file__).with_name("catalogue.py")
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module.CATALOGUE


CATALOGUE = _catalogue()


@pytest.mark.parametrize("mutant", CATALOGUE, ids=lambda mutant: mutant.name)
def test_the_line_to_be_changed_is_still_there(mutant):
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.original) == 1, f"{mutant.file}: the mutant is stale, mend it"
    compile(text.replace(mutant.original, mutant.wrong), mutant.file, "exec")


def test_the_catalogue_is_large_and_names_are_unique():
    assert len(CATALOGUE) >= 40
    assert [name for name, n in Counter(m.name for m in CATALOGUE).items() if n > 1] == []


def _copied(target):
    """A copy of engine and tests in which `tinygrad_llm.kernels` is a folder of its own."""
    # Compiled files come along (they are checked against the time of their source): it is faster.
    skip = shutil.ignore_patterns("lessons", "mutants", ".hypothesis")
    for name in ("tinygrad_llm", "kernels", "tests"):
        shutil.copytree(ROOT / name, target / name, ignore=skip, symlinks=True)
    link = target / "tinygrad_llm" / "kernels"
    if link.is_symlink() or not link.exists():
        link.unlink(missing_ok=True)
        shutil.copytree(target / "kernels", link)
    shutil.copy(ROOT / "pyproject.toml", target)
    return target


def _run(folder, tests):
    """pytest's exit status: 0 all passed, 1 some failed, others did not get that far."""
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    environment |= {"TINYGRAD_LLM_KERNELS": "numpy", "OMP_NUM_THREADS": "1", "CI": "1"}
    environment |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # importing them takes half of the time
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout[-3000:] + done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("mutant", CATALOGUE, ids=lambda mutant: mutant.name)
def test_a_mutant_is_rejected(mutant, tmp_path):
    folder = _copied(tmp_path)
    for root in ("", "tinygrad_llm"):  # a kernel stands in both places
        path = folder / root / mutant.file
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(mutant.original, mutant.wrong), encoding="utf-8")
    status, output = _run(folder, mutant.tests)
    assert status == 1, f"{mutant.name}: pytest {mutant.tests} ended with {status}\n{output}"


@pytest.mark.slow
def test_what_is_right_is_accepted(tmp_path):
    """The same tests pass on an unchanged copy: what rejects the mutants is the change."""
    folder = _copied(tmp_path)
    plain = sorted({t for m in CATALOGUE if "-k" not in m.tests for t in m.tests})
    status, output = _run(folder, plain)
    assert status == 0, output
    for tests in sorted({m.tests for m in CATALOGUE if "-k" in m.tests}):
        status, output = _run(folder, tests)
        assert status == 0, output
