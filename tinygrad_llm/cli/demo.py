"""`tllm demo`: the main job in a minute and a half, from raw text to a GPT that writes."""

from pathlib import Path

import click


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/demo"),
              show_default=True, help="Folder of the run.")  # fmt: skip
@click.option(
    "--data", "source", default="default", show_default=True, help="A text to learn from."
)
@click.option("--steps", default=0, help="Training steps of the GPT [what fits in a minute].")
def command(out: Path, source: str, steps: int) -> None:
    """Train an n-gram and a small GPT on English text, compare them, and let them write.

    The text is the reference manual that comes with every Python; nothing is downloaded.
    """
    import time

    from tinygrad_llm import training
    from tinygrad_llm.training.demo import GPT, NGRAM, STEPS, untrained_text
    from tinygrad_llm.training.log import plot_loss, read_log
    from tinygrad_llm.training.progress import display, table
    from tinygrad_llm.training.run import sample

    started = time.perf_counter()
    say = click.echo
    ngram_config = NGRAM(source, out / "ngram")
    gpt_config = GPT(source, out / "gpt", steps or STEPS)

    say("1. Counting: an n-gram model guesses each character from the five before it.")
    ngram = training.train(ngram_config, overwrite=True)
    assert ngram.evaluation is not None
    say(f"   counted in {ngram.seconds:.1f} s: "
        f"{ngram.evaluation.bits_per_character:.3f} bits per held-out character")  # fmt: skip

    say("\n2. Learning: a GPT, with every gradient by hand. Before training it writes:")
    say(_quoted(untrained_text(gpt_config)))
    gpt = training.train(gpt_config, display(), overwrite=True)
    assert gpt.evaluation is not None
    say("   After training:")
    prompt = gpt.tokenizer.encode("The ")
    say(_quoted(sample(gpt.model, gpt.tokenizer, prompt, 300, seed=1, temperature=0.8)))
    say("   And the n-gram:")
    say(_quoted(sample(ngram.model, ngram.tokenizer, prompt, 300, seed=1, temperature=0.8)))

    rows = [
        (name, f"{run.evaluation.loss:.3f}", f"{run.evaluation.bits_per_character:.3f}",
         f"{run.model.num_parameters():,}", f"{run.seconds:.1f} s")
        for name, run in (("n-gram", ngram), ("GPT", gpt)) if run.evaluation
    ]  # fmt: skip
    say("\n3. Compared, on text that neither has seen:\n")
    header = ("model", "nats per character", "bits per character", "parameters", "training")
    say(table(rows, header))
    plot_loss(
        read_log(gpt_config.folder / "log.jsonl"), out / "loss.png",
        title="GPT on the default corpus", baselines={"n-gram": ngram.evaluation.loss},
    )  # fmt: skip
    say(f"\nDone in {time.perf_counter() - started:.0f} s. The model is in {gpt_config.folder}, "
        f"the loss curve in {out / 'loss.png'}. Try next:\n")  # fmt: skip
    say(f'  tllm generate {gpt_config.folder} --prompt "A class " --temperature 0.8')
    say(f"  tllm train --resume {gpt_config.folder} --steps {2 * gpt_config.steps}")
    say("  tllm train --data tinyshakespeare --steps 2000 --out runs/shakespeare")


def _quoted(text: str) -> str:
    return "\n".join(f"   | {line}" for line in text.splitlines())
