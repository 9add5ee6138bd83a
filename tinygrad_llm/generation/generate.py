"""Continue prompts: greedily, by sampling, or with beams; with any model that gives logits.

A model is asked for `next_token_logits(input_ids, attention_mask, cache)` and, if it has one,
`new_cache(batch_size, max_length)`. It may have a `config` with vocab_size and n_positions.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_llm import rng
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.generation import beam, sampling
from tinygrad_llm.generation.config import GenerationConfig
from tinygrad_llm.generation.context import Inference, Reader
from tinygrad_llm.generation.prompts import prepare
from tinygrad_llm.generation.stopping import StopStrings


def generate(
    model: Any,
    input_ids: Any,
    generation_config: GenerationConfig | None = None,
    *,
    attention_mask: Any = None,
    tokenizer: Any = None,
    streamer: Any = None,
    **options: Any,
) -> np.ndarray:
    """Continue each prompt; the options are the fields of `GenerationConfig`.

    input_ids: (B, T), (T,) for one prompt, or a list of prompts of any lengths. attention_mask
    (B, T): 0 for padding, which stands on the left. tokenizer: needed for stop_strings.
    streamer: its put(ids) gets the prompts and then each step's tokens, end() the end.

    Returns (B * num_return_sequences, T + new) int64: the (padded) prompts with what was added.
    A text that ends before the others is filled up with the padding id.

    Raises ConfigError and DataError (both ValueErrors) that name what is not accepted.
    """
    config = GenerationConfig.of(generation_config, options)
    job = Job(model, input_ids, config, attention_mask, tokenizer)
    if config.num_beams > 1:
        if streamer is not None:
            raise ConfigError(
                "generate: streamer does not go with num_beams > 1, as beams change their minds "
                "about what they wrote; use num_beams=1"
            )
        return job.output(job.search())
    if streamer is not None:
        streamer.put(job.prompts.ids)
    for tokens in job.steps():
        if streamer is not None:
            streamer.put(tokens)
    if streamer is not None:
        streamer.end()
    return job.output(job.texts)


class Job:
    """One call of `generate`: the prompts, the checked configuration, and the texts so far."""

    def __init__(
        self,
        model: Any,
        input_ids: Any,
        config: GenerationConfig,
        attention_mask: Any = None,
        tokenizer: Any = None,
    ):
        self.model = model
        self.config = config
        self.vocab_size = _vocab_size(model)
        self.eos = self._end_tokens()
        self.pad = self._padding_token()
        marked = config.pad_token_id is not None and self.pad not in self.eos
        self.prompts = prepare(input_ids, attention_mask, self.vocab_size, self.pad, marked)
        self.new_tokens = config.new_tokens(self.prompts.width)
        self.stops = self._stop_strings(tokenizer)
        self.inference = Inference(model)
        self._added = np.zeros((0, 0), np.int64)
        self._lengths = np.zeros(0, np.int64)

    def steps(self) -> Iterator[np.ndarray]:
        """Greedy search or sampling: yield the tokens (N,) of each step.

        Rows that have ended get the padding id and are no longer given to the model.
        """
        copies = self.config.num_return_sequences
        n_rows = len(self.prompts) * copies
        reader = Reader(self.model, self.prompts, copies, self.new_tokens, self.config.use_cache)
        streams = self._streams(copies) if self.config.do_sample else []
        # Not filled at once: whoever asks for a million tokens may stop after ten.
        self._added = np.empty((n_rows, self.new_tokens), np.int64)
        self._lengths = np.zeros(n_rows, np.int64)
        rows = np.arange(n_rows)  # those that go on
        for step in range(self.new_tokens):
            with self.inference:
                logits = reader.read()  # (rows, V)
                scores = sampling.process(logits, reader.ids, self.config, reader.padding)
            if streams:
                probabilities = sampling.softmax(scores)
                tokens = sampling.sample(probabilities, [streams[row] for row in rows])
            else:
                tokens = scores.argmax(axis=-1)
            self._added[:, step] = self.pad
            self._added[rows, step] = tokens
            self._lengths[rows] = step + 1
            yield self._added[:, step]
            ended = np.array([self.ends(self._added[row, : step + 1]) for row in rows])
            if step + 1 == self.new_tokens or ended.all():
                return
            if ended.any():
                rows, tokens = rows[~ended], tokens[~ended]
                reader.select(np.flatnonzero(~ended))
            reader.append(tokens)

    @property
    def texts(self) -> list[np.ndarray]:
        """What `steps` has added to each row so far, without padding."""
        return [row[:n] for row, n in zip(self._added, self._lengths, strict=True)]

    def search(self) -> list[np.ndarray]:
        """Beam search: the best texts of each prompt."""
        config = self.config
        # Of the best 1 + len(eos) tokens after a text at least one is no end: with so many
        # candidates a beam there are always num_beams texts that run on.
        per_beam = max(2, 1 + len(self.eos))
        if self.vocab_size is not None and per_beam > self.vocab_size:
            raise ConfigError(
                f"generate: num_beams={config.num_beams} with {len(self.eos)} eos tokens needs a "
                f"vocabulary of at least {per_beam} tokens; the model's has {self.vocab_size}"
            )
        streams = self._streams(1) if config.do_sample else [None] * len(self.prompts)
        searches = [
            beam.Beams(config, self.new_tokens, per_beam * config.num_beams, self.ends, stream)
            for stream in streams
        ]
        reader = Reader(
            self.model, self.prompts, config.num_beams, self.new_tokens, config.use_cache
        )
        found = beam.search(reader, searches, self.inference, 1 + max(1, len(self.eos)))
        return [text for texts in found for text in texts[: config.num_return_sequences]]

    def ends(self, text: np.ndarray) -> bool:
        """Whether the new part of a text (t,), t >= 1, is complete with its last token."""
        if int(text[-1]) in self.eos:
            return True
        return self.stops is not None and self.stops.completed_by(text)

    def output(self, texts: list[np.ndarray]) -> np.ndarray:
        """Prompts and what was added to them, in one array (N, T)."""
        copies = len(texts) // len(self.prompts)
        width = self.prompts.width
        longest = max(map(len, texts))
        result = np.full((len(texts), width + longest), self.pad)
        result[:, :width] = np.repeat(self.prompts.ids, copies, axis=0)
        for row, text in zip(result, texts, strict=True):
            row[width : width + len(text)] = text
        return result

    def _streams(self, copies: int) -> list[np.random.Generator]:
        """A generator for each row, which depends on the seed and the row's prompt alone.

        So a text does not change with the others in its batch. When a prompt comes twice, the
        second is a further copy of the first.
        """
        seed = self.config.seed
        if seed is None:
            seed = int(rng.state.generator.integers(2**63))
        seen: dict[bytes, int] = {}
        streams = []
        for ids, length in zip(self.prompts.ids, self.prompts.lengths, strict=True):
            prompt = ids[len(ids) - length :].tobytes()
            for _ in range(copies):
                number = seen[prompt] = seen.get(prompt, -1) + 1
                name = hashlib.blake2b(prompt, digest_size=16, salt=b"generate")
                name.update(f"{seed} {number}".encode())
                key = int.from_bytes(name.digest(), "little")
                streams.append(np.random.Generator(np.random.Philox(key=key)))
        return streams

    def _end_tokens(self) -> frozenset[int]:
        given = self.config.eos_token_id
        from_model = given is None
        if from_model:
            given = getattr(getattr(self.model, "config", None), "eos_token_id", None)
        if given is None:
            return frozenset()
        tokens = [given] if isinstance(given, int | np.integer) else given
        if from_model and self.vocab_size is not None:
            # GPT-2's default, 50256, means nothing in a smaller vocabulary.
            tokens = [token for token in tokens if token < self.vocab_size]
        for token in tokens:
            self._check_token("eos_token_id", int(token))
        return frozenset(int(token) for token in tokens)

    def _padding_token(self) -> int:
        given = self.config.pad_token_id
        if given is not None:
            self._check_token("pad_token_id", int(given))
            return int(given)
        return min(self.eos, default=0)

    def _check_token(self, name: str, token: int) -> None:
        if self.vocab_size is not None and token >= self.vocab_size:
            raise ConfigError(
                f"generate: {name}={token} is outside the model's vocabulary, "
                f"0 to {self.vocab_size - 1}"
            )

    def _stop_strings(self, tokenizer: Any) -> StopStrings | None:
        if not self.config.stops:
            return None
        if tokenizer is None:
            raise ConfigError(
                "generate: stop_strings are texts, and the model knows only ids; give the "
                "tokenizer as well: generate(..., stop_strings=..., tokenizer=tokenizer)"
            )
        return StopStrings(tokenizer, self.config.stops)


def _vocab_size(model: Any) -> int | None:
    config = getattr(model, "config", None)
    return getattr(config, "vocab_size", None) or getattr(model, "vocab_size", None)
