"""log.jsonl is JSON, a line an entry, whatever was killed and whatever a model wrote."""

import json

import pytest

from tinygrad_llm.training import train
from tinygrad_llm.training.log import RunLog, read_log


def test_a_runs_log_is_valid_json_lines(configure):
    config = configure(sample_tokens=6)
    train(config)
    lines = (config.folder / "log.jsonl").read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    entries = [json.loads(line) for line in lines]
    assert entries == read_log(config.folder / "log.jsonl")
    events = [e["event"] for e in entries]
    assert events.count("step") == 6
    assert events.count("evaluation") == 4
    assert events.count("sample") == 4
    steps = [e["step"] for e in entries]
    assert steps == sorted(steps)
    step = next(e for e in entries if e["event"] == "step")
    assert step.keys() == {"event", "step", "loss", "grad_norm", "lr", "tokens_per_second"}


@pytest.mark.parametrize("text", ["a\u2028b", "a\x85b", "a\x0cb", "\x1c", "é\r\n", "\ufffd\0"])
def test_a_text_with_any_line_end_is_one_entry(tmp_path, text):
    log = RunLog(tmp_path / "log.jsonl")
    log.write(event="sample", step=1, text=text)
    log.write(event="step", step=2, loss=1.5)
    assert [e["step"] for e in read_log(log.path)] == [1, 2]
    assert read_log(log.path)[0]["text"] == text
    log.forget_after(2)
    assert read_log(log.path)[0]["text"] == text


def test_a_cut_anywhere_in_the_last_line_loses_only_that(tmp_path):
    log = RunLog(tmp_path / "log.jsonl")
    log.write(event="step", step=1)
    whole = len(log.path.read_bytes())
    log.write(event="sample", step=2, text="größer")
    data = log.path.read_bytes()
    for cut in range(whole, len(data)):
        log.path.write_bytes(data[:cut])
        assert [e["step"] for e in read_log(log.path)] == [1]
        log.forget_after(5)
        assert log.path.read_bytes() == data[:whole]
    log.path.write_bytes(data)
    assert len(read_log(log.path)) == 2


def test_forgetting_what_came_after_a_checkpoint(tmp_path):
    log = RunLog(tmp_path / "new" / "log.jsonl")
    for step in range(5):
        log.write(event="step", step=step)
    log.write(event="error", step=2, message="nan")
    log.forget_after(2)
    assert [e["step"] for e in read_log(log.path)] == [0, 1, 2]
    log.path.unlink()
    log.forget_after(2)  # of a run that was killed before it wrote a line
    assert read_log(log.path) == []


def test_what_is_no_json_is_not_written(tmp_path):
    log = RunLog(tmp_path / "log.jsonl")
    with pytest.raises(ValueError, match="JSON"):
        log.write(event="step", step=1, loss=float("nan"))
    assert read_log(log.path) == []
    assert read_log(tmp_path / "none.jsonl") == []
