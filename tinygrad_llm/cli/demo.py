"""`tllm demo`: the main job in a minute and a half, from raw text to a GPT that writes."""

import shlex
import textwrap
from pathlib import Path

import click

_MARK = "demo.json"  # in the folder: that the demo made what is there, and how far


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/demo"),
              show_default=True, help="Folder of the run.")  # fmt: skip
@click.option("--data", "source", default="default", show_default=True,
              help="A corpus by name, a text file or a folder.")  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), show_default="what fits into a minute",
              help="Training steps of the GPT.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace a run that is in the folder already.")
def command(out: Path, source: str, steps: int | None, overwrite: bool) -> None:
    """Train an n-gram and a small GPT, compare them, and let them write.

    The default text is the reference manual that comes with every Python: nothing is downloaded.
    """
    import time

    from tinygrad_llm import training
    from tinygrad_llm.files import write_json
    from tinygrad_llm.training import demo
    from tinygrad_llm.training.log import read_log
    from tinygrad_llm.training.plot import plot_loss
    from tinygrad_llm.training.progress import display, table
    from tinygrad_llm.training.recorder import quoted, sample

    started = time.perf_counter()
    _check_folder(out, overwrite)
    say = click.echo

    say("1. Counting. An n-gram model guesses each character from the five before it, by how")
    say("   often it has seen them together.\n")
    ngram = training.train(demo.ngram_config(source, out / "ngram"), overwrite=True)
    assert ngram.evaluation is not None
    say(f"  counted in {ngram.seconds:.1f} s: {ngram.evaluation.bits_per_character:.3f} bits "
        f"per character of text that it has not read")  # fmt: skip

    say("\n2. Learning. A GPT predicts the next piece of a word, and follows the gradient of its")
    say("   mistakes. Before training it writes:\n")
    rehearsal = demo.Rehearsal(demo.gpt_config(source, out, steps or demo.STEPS))
    prompt = demo.first_words([rehearsal.tokenizer, ngram.tokenizer], rehearsal.corpus)
    say(quoted(rehearsal.text(prompt)) + "\n")
    if steps is None:
        step_time = rehearsal.seconds_per_step()
        left = demo.SECONDS - (time.perf_counter() - started)
        steps = demo.steps_that_fit(step_time, left)
        if steps < demo.STEPS:
            say(f"  A step takes {step_time * 1e3:.0f} ms here: {steps} steps, not {demo.STEPS}.")
    config = demo.gpt_config(source, out, steps)
    write_json(out / _MARK, {"steps": steps})
    gpt = training.train(config, display(), overwrite=True)
    assert gpt.evaluation is not None

    say("\n3. Writing. The GPT, after training:\n")
    for run, tokens in ((gpt, 120), (ngram, 300)):
        ids = run.tokenizer.encode(prompt)
        say(quoted(sample(run.model, run.tokenizer, ids, tokens, seed=1, temperature=0.8)))
        if run is gpt:
            say("\n   The n-gram:\n")

    say("\n4. Comparing, on text that neither has seen, in bits per character (fewer is better):\n")
    rows = [
        (name, f"{run.evaluation.bits_per_character:.3f}", f"{run.evaluation.loss:.3f}",
         f"{run.evaluation.tokens:,}", f"{run.model.num_parameters():,}", f"{run.seconds:.1f} s")
        for name, run in (("n-gram", ngram), ("GPT", gpt)) if run.evaluation
    ]  # fmt: skip
    header = ("model", "bits/character", "nats/token", "tokens", "parameters", "training")
    say(textwrap.indent(table(rows, header), "  "))
    say("\n" + textwrap.indent(textwrap.fill(demo.verdict(ngram, gpt), 86), "  "))
    plot_loss(
        read_log(out / "log.jsonl"), out / "loss.png", f"GPT on {config.data_name}",
        {"n-gram": ngram.evaluation.bits_per_character},
    )  # fmt: skip

    say(f"\nDone in {time.perf_counter() - started:.0f} s. Kept are\n")
    for what, path in (("GPT", out), ("n-gram", out / "ngram"), ("loss curve", out / "loss.png")):
        say(f"  the {what:12}{path}")
    say("\nType next:\n")
    folder = shlex.quote(str(out))
    for line, about in (
        (f"tllm generate {folder} --prompt {shlex.quote(prompt)}", "let it write more"),
        (f"tllm train --resume {folder} --steps {2 * steps}", "let it learn on"),
        ("tllm train --data YOUR-TEXT.txt", "teach it yours"),
    ):
        say(f"  {line:58}  # {about}")


def _check_folder(out: Path, overwrite: bool) -> None:
    """The demo replaces what the demo has made, but not what somebody has trained on since."""
    from tinygrad_llm.errors import ConfigError
    from tinygrad_llm.training import checkpoints

    last = checkpoints.complete(out, checkpoints.LAST)
    if overwrite or not ((out / "config.json").exists() or last):
        return
    mark = out / _MARK
    made = checkpoints.read_json(mark).get("steps") if mark.exists() else None
    state = (last or out) / checkpoints.STATE
    reached = checkpoints.read_json(state).get("step") if state.exists() else 0
    if made is None or reached is None or reached > made:
        whose = "a run that was trained on since" if made else "a run that the demo did not make"
        raise ConfigError(
            f"{out} holds {whose}; choose another folder (--out), or replace it (--overwrite)"
        )
