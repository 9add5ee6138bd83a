"""The two runs of `tllm demo`: an n-gram and a small GPT, sized for a minute on two cores."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tinygrad_llm import data, rng
from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.training.config import TrainConfig
from tinygrad_llm.training.loop import Trainer
from tinygrad_llm.training.parts import build, check_lengths, end_of_text, make_tokenizer
from tinygrad_llm.training.recorder import sample
from tinygrad_llm.training.run import Run

STEPS = 1200  # of the GPT, where the machine is fast enough
SECONDS = 80  # that the whole demo may take
ENDING = 6  # of them for the last evaluation, the texts and the picture


def ngram_config(source: str, folder: Path) -> TrainConfig:
    """Six characters at a time, the best smoothing that counting has."""
    return TrainConfig(
        data=source, model="ngram", order=6, smoothing="modified-kneser-ney", out=str(folder)
    )


def gpt_config(source: str, folder: Path, steps: int) -> TrainConfig:
    """Four layers of width 128 over 2,048 pieces of words: 1.1 million parameters.

    Pieces of words and not characters, as each token then stands for more text; short windows, as
    a minute is too short to learn long dependencies; a strong weight decay, as the text is read
    several times. What else was tried, and what it gave, is in benchmarks/LOG.md.
    """
    return TrainConfig(
        data=source, model="gpt", tokenizer="bpe", vocab_size=2048, context=32, n_layer=4,
        n_head=4, n_embd=128, steps=steps, batch_size=24, learning_rate=2e-3,
        min_learning_rate=1e-4, warmup_steps=min(40, steps // 10),
        eval_interval=max(steps // 5, 1), checkpoint_interval=max(steps // 5, 1), out=str(folder),
    )  # fmt: skip


class Rehearsal:
    """The GPT before training: what it writes, and how long a step takes on this machine."""

    def __init__(self, config: TrainConfig):
        self.config = config
        self.tokenizer = make_tokenizer(config)
        self.corpus = data.prepare(config.data, self.tokenizer, config.validation)
        check_lengths(config, self.corpus)
        rng.manual_seed(config.seed)
        self.model = build(config, self.tokenizer.vocab_size, end_of_text(self.tokenizer))

    def text(self, prompt: str, tokens: int = 60) -> str:
        """Noise, as the weights are random."""
        return sample(self.model, self.tokenizer, self.tokenizer.encode(prompt), tokens, seed=1)

    def seconds_per_step(self, steps: int = 8) -> float:
        """The median of a few steps, after some that compile and allocate."""
        trainer = Trainer(self.config, self.model, self.corpus)
        self.model.train()
        times = []
        for _ in range(3 + steps):
            started = time.perf_counter()
            trainer.train_step()
            times.append(time.perf_counter() - started)
        return sorted(times[3:])[steps // 2]


def steps_that_fit(seconds_per_step: float, seconds_left: float) -> int:
    """STEPS, or fewer (in hundreds) on a machine that would take too long for them.

    The evaluations on the way take about as long as 5 % of the steps.
    """
    possible = (seconds_left - ENDING) / (1.05 * seconds_per_step)
    return min(STEPS, max(int(possible) // 100 * 100, 100))


def first_words(tokenizers: list[Any], corpus: data.TokenCorpus) -> str:
    """What all texts begin with: "The", or a word of the held-out text, if that has other letters.

    No space after it: byte pairs have it at the beginning of the next word, so one that stands at
    the end of a text announces something rare. tokenizers: those that must be able to encode it;
    the corpus is of the first one.
    """
    # Its ends may be halves of characters, which are no text.
    words = tokenizers[0].decode(corpus.validation[:60]).replace("\ufffd", " ").split()
    for prompt in ("The", *(word[:12] for word in words)):
        try:
            if all(tokenizer.encode(prompt) for tokenizer in tokenizers):
                return prompt
        except TokenizerError:
            continue
    return "\n"


def verdict(ngram: Run, gpt: Run) -> str:
    """Who won, by how much, and why; in honest words."""
    assert ngram.evaluation is not None
    assert gpt.evaluation is not None
    counted, learned = ngram.evaluation.bits_per_character, gpt.evaluation.bits_per_character
    window = gpt.config.context * gpt.evaluation.characters / gpt.evaluation.tokens
    sizes = (
        f"The n-gram looks at {ngram.config.order - 1} characters, and remembers all that it has "
        f"read in {ngram.model.num_parameters():,} counts; the GPT looks at about {window:.0f} "
        f"characters, through {gpt.model.num_parameters():,} weights."
    )
    if abs(learned / counted - 1) < 0.01:
        return (
            f"A draw, within one per cent. {sizes} Counting is done after one reading, and on so "
            f"little text its memory is hard to beat; the GPT had to find its weights step by step."
        )
    if learned < counted:
        return (
            f"The GPT wins: it needs {1 - learned / counted:.0%} fewer bits. {sizes} What it has "
            f"learned of one word, it knows of all that are used alike."
        )
    return (
        f"The n-gram wins: the GPT needs {learned / counted - 1:.0%} more bits. {sizes} Counting "
        f"is done after one reading, and on so little text its memory is hard to beat; the GPT "
        f"has to find its weights step by step, and had {gpt.config.steps:,} of them."
    )
