"""`tllm generate`: every option on every family; contradictions are told in the command's words."""

import io
import itertools
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tinygrad_llm import cli, models, tokenizers

ALL = [f"{model}{kind}" for model in ("gpt", "mlp", "rnn", "lstm", "gru", "ngram")
       for kind in ("", "-bpe")]  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_every_family_writes(name, tllm, runs):
    first = tllm("generate", runs[name], "--prompt", "the cat", "--tokens", 30, "--seed", 4)
    assert first.code == 0
    assert first.out.startswith("the cat")
    assert len(first.out) > 7 + 10
    assert first == tllm("generate", runs[name], "--prompt", "the cat", "--tokens", 30, "--seed", 4)
    other = tllm("generate", runs[name], "--prompt", "the cat", "--tokens", 30, "--seed", 5)
    assert other.out != first.out


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "options",
    [
        ["--greedy"], ["--greedy", "--no-cache"], ["--temperature", 0.5, "--top-k", 3],
        ["--top-p", 0.8, "--min-p", 0.01, "--repetition-penalty", 1.2], ["--samples", 3],
        ["--beams", 3], ["--beams", 3, "--samples", 2, "--length-penalty", 0.5],
    ],
    ids=lambda options: " ".join(map(str, options)),
)  # fmt: skip
def test_every_option(name, options, tllm, runs):
    result = tllm("generate", runs[name], "--tokens", 7, "--prompt", "a ", *options)
    assert result.code == 0, result.err
    texts = re.split(r"^-- \d+ -+\n", result.out, flags=re.MULTILINE)
    samples = options[options.index("--samples") + 1] if "--samples" in options else 1
    assert len(texts) == (samples + 1 if samples > 1 else 1)
    assert all(text.startswith("a ") for text in texts[-samples:])


def test_the_cache_does_not_change_the_text(tllm, runs):
    written = [tllm("generate", runs["gpt"], "--tokens", 40, "--seed", 3, *more).out
               for more in ([], ["--no-cache"])]  # fmt: skip
    assert written[0] == written[1]


def test_a_checkpoint_a_run_and_its_best(tllm, runs):
    folder = runs["gpt"]
    one, best, last = (tllm("generate", path, "--greedy", "--tokens", 9).out
                       for path in (folder, folder / "best", folder / "last"))  # fmt: skip
    assert one == best
    assert last


def test_a_seed_that_was_not_given_differs(tllm, runs):
    texts = {tllm("generate", runs["ngram"], "--tokens", 60).out for _ in range(4)}
    assert len(texts) == 4


def test_stop_texts_end_the_text_and_are_not_printed(tllm, runs):
    free = tllm("generate", runs["ngram"], "--seed", 1, "--tokens", 200).out
    stopped = tllm("generate", runs["ngram"], "--seed", 1, "--tokens", 200, "--stop", " s",
                   "--stop", "zzz").out  # fmt: skip
    assert free.startswith(stopped.removesuffix("\n"))
    assert " s" not in stopped
    assert free[len(stopped) - 1 :].startswith(" s")
    several = tllm("generate", runs["ngram"], "--seed", 1, "--stop", " s", "--samples", 3).out
    assert " s" not in several


@pytest.mark.parametrize("name", ["gpt", "gpt-bpe", "ngram"])
def test_without_a_prompt_it_begins_a_line_that_is_not_printed(name, tllm, runs):
    result = tllm("generate", runs[name], "--tokens", 5, "--seed", 2)
    with_line = tllm("generate", runs[name], "--tokens", 5, "--seed", 2, "--prompt", "\n")
    assert result.code == 0
    assert "\n" + result.out == with_line.out
    assert tllm("generate", runs[name], "--tokens", 5, "--seed", 2, "--prompt", "") == result


@pytest.mark.parametrize(
    ("stdin", "prompt"),
    [("the cat", "the cat"), ("the cat\n", "the cat"), ("a\nmat\r\n", "a\nmat"), ("\n", "")],
)
def test_a_prompt_from_standard_input(tllm, runs, stdin, prompt):
    piped = tllm("generate", runs["gpt"], "--prompt", "-", "--seed", 1, stdin=stdin)
    given = tllm("generate", runs["gpt"], "--prompt", prompt, "--seed", 1)
    assert piped == given
    assert given.code == 0


def test_a_prompt_longer_than_the_context(tllm, runs):
    prompt = "the cat sat on a mat and saw one dog " * 3
    result = tllm("generate", runs["gpt"], "--prompt", prompt, "--tokens", 20)
    assert result.code == 0
    assert result.out.startswith(prompt)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompt", "the Zoo"], r"--prompt: 'Z' \(U\+005A\), at offset 4 .* is not among the 17"),
        (["--prompt", "día"], r"'í' \(U\+00ED\)"),
        (["--tokens", 0], r"--tokens=0 is not accepted; use an integer of at least 1"),
        (["--temperature", 0], r"--temperature=0\.0 is not accepted; .* which is --greedy"),
        (["--temperature", -1], r"--temperature=-1\.0 is not accepted"),
        (["--top-k", -1], "--top-k=-1 is not accepted"),
        (["--top-p", 1.5], r"--top-p=1\.5 is not accepted; use a number from 0 to 1"),
        (["--min-p", "nan"], "--min-p=nan is not accepted"),
        (["--repetition-penalty", 0], r"--repetition-penalty=0\.0 is not accepted"),
        (["--beams", 0], "--beams=0 is not accepted"),
        (["--samples", 0], "--samples=0 is not accepted"),
        (["--seed", -3], "--seed=-3 is not accepted"),
        (["--stop", ""], "--stop=.* is not accepted"),
        (["--beams", 2, "--samples", 3], "--samples=3 is more than --beams=2"),
        (["--greedy", "--beams", 2], "--greedy and --beams contradict each other"),
        (["--greedy", "--samples", 2], "--greedy finds one text"),
        (["--greedy", "--top-k", 2], "--top-k is for sampling, and --greedy does not sample"),
        (["--beams", 2, "--temperature", 2], "--temperature is for sampling, and --beams does"),
        (["--length-penalty", 2], "--length-penalty is for beam search: give --beams as well"),
        (["--tokens", "many"], "'many' is not a valid integer"),
        (["--promt", "x"], "No such option.*--promt.*Did you mean.*--prompt"),
        (["--part", "softmax=/nowhere.py"], "no Python file /nowhere.py"),
    ],
)
def test_what_a_user_gets_wrong_is_one_message(tllm, runs, arguments, message):
    result = tllm("generate", runs["gpt"], *arguments)
    assert result.code == 2
    assert result.out == ""
    assert re.search(message, result.err), result.err
    for name in ("num_beams", "max_new_tokens", "num_return", "do_sample", "top_k", "Warning"):
        assert name not in result.err


def test_a_prompt_that_is_no_text(tllm, runs):
    result = tllm("generate", runs["gpt"], "--prompt", "-", stdin=b"caf\xe9")
    assert result.code == 2
    assert "the prompt on standard input is not UTF-8 text (byte 0xe9)" in result.err
    result = tllm("generate", runs["gpt-bpe"], "--prompt", "caf\udce9")  # as Python has such bytes
    assert result.code == 2
    assert "--prompt" in result.err


def test_bytes_that_a_bpe_vocabulary_has_need_not_be_in_its_text(tllm, runs):
    result = tllm("generate", runs["gpt-bpe"], "--prompt", "Größe: 中", "--tokens", 3)
    assert result.code == 0
    assert result.out.startswith("Größe: 中")


@pytest.mark.parametrize("command", ["generate", "eval", "info"])
def test_a_folder_that_holds_no_checkpoint(command, tllm, runs, tmp_path, text):
    result = tllm(command, tmp_path / "nowhere")
    assert result.code == 2
    assert f"{tmp_path / 'nowhere'}: there is no such" in result.err
    result = tllm(command, tmp_path)
    assert result.code == 2
    assert "holds neither a checkpoint nor a run with one" in result.err
    result = tllm(command, runs["gpt"].parent)
    assert result.code == 2
    assert f"did you mean {runs['gpt']}" in result.err
    assert tllm(command, text).code == 2
    assert tllm(command).code == 2


def test_a_save_that_was_killed_half_way_is_read(tllm, runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs["ngram"], run)
    expected = tllm("generate", run, "--greedy", "--tokens", 9)
    (run / "last").rename(run / ".last.old")
    for command in (["generate", run, "--greedy", "--tokens", 9], ["eval", run], ["info", run]):
        result = tllm(*command)
        assert result.code == 0
        if command[0] == "generate":
            assert result == expected
    assert (run / ".last.old").exists()  # a reader tidies nothing: the writer may be at work


def test_weights_that_are_not_finite(tllm, runs, tmp_path):
    model = models.load(runs["gpt"] / "last")
    model.transformer.wte.weight.array[:] = np.nan
    model.save(tmp_path)
    tokenizers.load(runs["gpt"] / "last").save(tmp_path)
    result = tllm("generate", tmp_path)
    assert result.code == 2
    assert "its weights are probably not finite" in result.err


def test_the_text_is_written_while_it_is_made(runs, monkeypatch):
    """Not all at once at the end: pieces are flushed one by one."""

    class Watching(io.StringIO):
        def flush(self):
            flushed.append(self.getvalue())

    flushed = []
    watching = Watching()
    monkeypatch.setattr(sys, "stdout", watching)
    assert cli.main(["generate", str(runs["gpt"]), "--prompt", "the", "--tokens", "12"]) == 0
    lengths = sorted({len(text) for text in flushed})
    assert len(lengths) >= 12  # one character a token
    assert all(later - earlier == 1 for earlier, later in itertools.pairwise(lengths[1:]))


def test_head_may_leave(runs):
    """A reader that has seen enough is no error."""
    command = f"{sys.executable} -m tinygrad_llm generate {runs['ngram']} --tokens 3000 | head -c 5"
    result = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True
    )
    assert len(result.stdout) == 5
    assert result.stderr == ""
