"""Text in, text out: whole continuations, or pieces while they are being written."""

import sys
from collections.abc import Iterator
from typing import Any, TextIO

import numpy as np

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.generation.config import GenerationConfig
from tinygrad_llm.generation.generate import Job
from tinygrad_llm.generation.stopping import TextPieces, cut


def generate_text(
    model: Any,
    tokenizer: Any,
    prompts: str | list[str],
    generation_config: GenerationConfig | None = None,
    **options: Any,
) -> list[str]:
    """What the model adds to each prompt, up to (and without) its end token or stop string.

    Returns num_return_sequences texts for each prompt. Options: see `GenerationConfig`.
    """
    config = GenerationConfig.of(generation_config, options)
    prompts = [prompts] if isinstance(prompts, str) else prompts
    job = Job(model, [tokenizer.encode(prompt) for prompt in prompts], config, None, tokenizer)
    if config.num_beams > 1:
        texts = job.search()
    else:
        for _ in job.steps():
            pass
        texts = job.texts
    return [cut(tokenizer.decode(_without_end(text, job.eos)), config.stops) for text in texts]


def stream(
    model: Any,
    prompt: Any,
    generation_config: GenerationConfig | None = None,
    *,
    tokenizer: Any = None,
    **options: Any,
) -> Iterator[Any]:
    """Continue one prompt and yield what is added, while it is being written.

    With a tokenizer: pieces of text, whole characters only, which joined are what `generate_text`
    returns; the prompt may then be a text. Without: token ids, the end token included.
    Options: see `GenerationConfig`. Mistakes are raised at once, not when the first piece is asked.
    """
    config = GenerationConfig.of(generation_config, options)
    for name in ("num_beams", "num_return_sequences"):
        if getattr(config, name) != 1:
            raise ConfigError(
                f"stream: {name}={getattr(config, name)} is not accepted, as one text is streamed; "
                f"use 1, or generate"
            )
    if isinstance(prompt, str):
        if tokenizer is None:
            raise TypeError("stream: prompt is a str; give the tokenizer as well, or token ids")
        prompt = np.asarray(tokenizer.encode(prompt), np.int64)
    job = Job(model, prompt, config, None, tokenizer)
    if len(job.prompts) != 1:
        raise ConfigError(f"stream: {len(job.prompts)} prompts are not accepted; use one")
    if tokenizer is None:
        return (int(tokens[0]) for tokens in job.steps())
    return _pieces(job, TextPieces(tokenizer, config.stops))


def _pieces(job: Job, pieces: TextPieces) -> Iterator[str]:
    for tokens in job.steps():
        token = int(tokens[0])
        if token not in job.eos and (piece := pieces.put([token])):
            yield piece
    if rest := pieces.end():
        yield rest


def _without_end(text: np.ndarray, eos: frozenset[int]) -> list[int]:
    ids = text.tolist()
    return ids[:-1] if ids and ids[-1] in eos else ids


class TextStreamer:
    """For `generate(..., streamer=TextStreamer(tokenizer))`: print one text while it is written.

    skip_prompt: print only what is new. file: where to; the terminal if left out.
    """

    def __init__(self, tokenizer: Any, skip_prompt: bool = False, *, file: TextIO | None = None):
        self.tokenizer = tokenizer
        self.skip_prompt = skip_prompt
        self.file = file
        self._pieces = TextPieces(tokenizer)
        self._prompt_next = True

    def put(self, ids: np.ndarray) -> None:
        """The prompt (1, T) or (T,) at first, then tokens."""
        ids = np.asarray(ids)
        if ids.ndim > 1 and len(ids) > 1 or not self._prompt_next and len(ids) > 1:
            raise ValueError(f"TextStreamer: {len(ids)} texts are not accepted; it prints one")
        is_prompt, self._prompt_next = self._prompt_next, False
        if not (is_prompt and self.skip_prompt):
            self._print(self._pieces.put(ids.ravel().tolist()))

    def end(self) -> None:
        """Print what was held back and end the line. The streamer can be used again."""
        self._print(self._pieces.end() + "\n")
        self._pieces = TextPieces(self.tokenizer)
        self._prompt_next = True

    def _print(self, text: str) -> None:
        print(text, end="", file=self.file or sys.stdout, flush=True)
