"""`tllm doctor`: a line a subject, and the remedy where something is missing."""

import os
import subprocess
import sys

import pytest

from tinygrad_llm.cli import doctor, main


def _lines(capsys) -> dict[str, tuple[str, str]]:
    """subject -> (state, text)"""
    lines = capsys.readouterr().out.splitlines()
    return {line.split()[1]: (line.split()[0], line[20:]) for line in lines}


def test_every_subject_has_one_line(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TINYGRAD_LLM_CACHE", str(tmp_path / "not" / "yet"))
    monkeypatch.delenv("TINYGRAD_LLM_DATA", raising=False)
    assert main(["doctor"]) == 0
    lines = _lines(capsys)
    assert {"Python", "NumPy", "Numba", "regex", "GPU", "memory", "cache", "data"} <= lines.keys()
    assert lines["Python"][0] == lines["NumPy"][0] == "ok"
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in lines["Python"][1]
    assert "BLAS" in lines["NumPy"][1]
    assert lines["cache"] == ("ok", str(tmp_path / "not" / "yet"))
    assert lines["data"][0] == "missing"
    assert "TINYGRAD_LLM_DATA" in lines["data"][1]


def test_a_wrong_data_folder_is_a_problem(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TINYGRAD_LLM_DATA", str(tmp_path / "gone"))
    assert main(["doctor"]) == 1
    state, text = _lines(capsys)["data"]
    assert state == "problem"
    assert "correct or unset TINYGRAD_LLM_DATA" in text


def test_a_cache_that_cannot_be_written_is_a_problem(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TINYGRAD_LLM_CACHE", str(tmp_path / "file"))
    assert main(["doctor"]) == 1
    assert _lines(capsys)["cache"][0] == "problem"


def test_without_numba_the_remedy_is_named_and_all_is_well(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)  # Python's own mark for "cannot be imported"
    monkeypatch.delenv("TINYGRAD_LLM_DATA", raising=False)
    assert main(["doctor"]) == 0
    state, text = _lines(capsys)["Numba"]
    assert state == "missing"
    assert "pip install -U numba" in text


def test_the_threads_of_blas_are_those_that_were_asked_for(tmp_path):
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-m", "tinygrad_llm", "doctor"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=env,
    )
    (line,) = [line for line in result.stdout.splitlines() if "NumPy" in line]
    if "openblas" not in line:
        pytest.skip("NumPy stands on another BLAS")
    assert line.endswith(", 1 thread")


def test_memory_is_plausible():
    total, free = doctor._memory_bytes()
    if total is None:
        pytest.skip("this system does not say")
    assert 2**26 < total < 2**50
    assert free is None or 0 < free <= total
