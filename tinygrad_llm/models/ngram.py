"""The n-gram model: the next token depends on the last n - 1, and is guessed by counting.

The first rung of the ladder, and the number that every neural model has to beat. It is trained in
one pass, and knows nothing of two contexts that are alike but not equal.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tinygrad_llm.data.tokens import check_ids
from tinygrad_llm.errors import CheckpointError, ConfigError, DataError
from tinygrad_llm.files import write_json
from tinygrad_llm.models import ngram_smoothing as methods
from tinygrad_llm.models.ngram_counts import Level, count, suffixes
from tinygrad_llm.models.ngram_smoothing import N_BUCKETS, Smoothed
from tinygrad_llm.pretrained.safetensors import load_file, read_header, save_file

SMOOTHINGS = ("laplace", "add-k", "interpolation", "kneser-ney", "modified-kneser-ney")
_HELD_OUT = 0.1  # of the training text, to estimate the weights of interpolation
_PIECE = 1 << 18  # tokens evaluated at once


@dataclass(frozen=True)
class NGramConfig:
    """What it takes to build a model: the arguments of NGram."""

    model_type: ClassVar[str] = "ngram"
    order: int
    vocab_size: int
    smoothing: str = "modified-kneser-ney"
    k: float = 0.1

    def __post_init__(self) -> None:
        for name, value in (("order", self.order), ("vocab_size", self.vocab_size)):
            if not isinstance(value, int | np.integer) or not 1 <= value < 2**31:
                raise ConfigError(f"NGram: {name}={value!r} is not accepted; use 1 .. 2**31 - 1")
        if self.smoothing not in SMOOTHINGS:
            known = ", ".join(SMOOTHINGS)
            raise ConfigError(f"NGram: smoothing={self.smoothing!r} is not accepted; use {known}")
        if not 0 < self.k < np.inf:
            raise ConfigError(f"NGram: k={self.k} is not accepted; use a number above 0")

    def to_dict(self) -> dict[str, Any]:
        """What `config.json` holds."""
        return {"architectures": ["NGram"], "model_type": self.model_type, **asdict(self)}


class NGram:
    """A smoothed n-gram model over the ids of any tokenizer.

    order: n, the length of the counted grams; 1 looks at no context. smoothing: one of SMOOTHINGS.
    k: what "add-k" adds to each count ("laplace" adds 1). All losses are in nats per token.
    """

    def __init__(
        self, order: int, vocab_size: int, smoothing: str = "modified-kneser-ney", k: float = 0.1
    ):
        self.config = NGramConfig(order, vocab_size, smoothing, k)
        self.order = order
        self.vocab_size = vocab_size
        self.smoothing = smoothing
        self.levels: list[Level] = []  # the counts, for grams of 1 .. order tokens
        self._weights = np.full((order, N_BUCKETS), 0.5)  # of "interpolation"
        self._smoothed: list[Smoothed] = []
        self._starts: list[np.ndarray] = []

    def fit(self, ids: np.ndarray | Sequence[int]) -> "NGram":
        """Count the grams of ids (N,), and forget what was counted before. Returns itself.

        Raises DataError if there are fewer ids than the order, or one is not in the vocabulary.
        """
        ids = self._checked(ids, "fit")
        if len(ids) < self.order:
            raise DataError(
                f"the text has {len(ids)} tokens, too few for n-grams of order {self.order}"
            )
        if self.smoothing == "interpolation":
            cut = len(ids) - int(len(ids) * _HELD_OUT)
            if cut >= self.order and cut < len(ids):
                counted = count(ids[:cut], self.order, self.vocab_size)
                self._weights = methods.estimate_weights(counted, ids[cut:])
        self._set_levels(count(ids, self.order, self.vocab_size))
        return self

    def log_prob(
        self, ids: np.ndarray | Sequence[int], context: np.ndarray | Sequence[int] = ()
    ) -> np.ndarray:
        """The natural logarithm of the probability of each of ids (N,), given those before it.

        context: ids that stand before the first one. Where fewer than order - 1 tokens stand
        before a token, the lower levels alone tell. Returns (N,) float64.
        """
        context = self._last(self._checked(context, "log_prob"))
        ids = np.concatenate([context, self._checked(ids, "log_prob")])
        result = np.empty(len(ids) - len(context))
        for start in range(len(context), len(ids), _PIECE):
            seen = min(start, self.order - 1)
            piece = self._probabilities(ids[start - seen : start + _PIECE])[seen:]
            result[start - len(context) :][:_PIECE] = np.log(piece)
        return result

    def evaluate(
        self, ids: np.ndarray | Sequence[int], context: np.ndarray | Sequence[int] = ()
    ) -> float:
        """The mean loss over ids (N,), in nats per token; see `log_prob`."""
        losses = self.log_prob(ids, context)
        if not len(losses):
            raise DataError("there are no tokens to evaluate")
        return -float(losses.mean())

    def next_token_probabilities(self, context: np.ndarray | Sequence[int]) -> np.ndarray:
        """The distribution of the token after `context` (T,), T >= 0: (vocab_size,) float64."""
        # Cut first: the time of a step does not grow with the length of the text.
        tokens = self._checked(self._last(np.asarray(context)), "next_token_probabilities")
        probabilities = np.full(self.vocab_size, 1 / self.vocab_size)
        grams = np.zeros(len(tokens) + 1, np.int64)  # the k tokens that end at each place
        for k, (level, smoothed, starts) in enumerate(self._ready()):
            here = grams[-1]  # the last k tokens, the context of this level
            if self._levels_apart:
                probabilities[:] = 1 / self.vocab_size
            if here >= 0:
                seen = slice(starts[here], starts[here + 1])
                probabilities *= smoothed.keep[here]
                probabilities[level.keys[seen] % self.vocab_size] += smoothed.gain[seen]
            if k == len(tokens):
                break
            grams = level.find(grams[:-1], tokens[k:])
        return probabilities

    def next_token_logits(
        self, input_ids: np.ndarray, attention_mask: np.ndarray | None = None, cache: None = None
    ) -> np.ndarray:
        """The log-probabilities of the token after each row of input_ids (B, T): (B, V) float64.

        attention_mask: (B, T), 0 for padding on the left, which is no context, and 1 for the rest.
        This is what generation asks of any model, so its samplers and beams work here as well.
        """
        rows = np.asarray(input_ids)
        if rows.ndim != 2:
            raise ValueError(f"NGram: input_ids must have shape (B, T), not {rows.shape}")
        result = np.empty((len(rows), self.vocab_size))
        for i, row in enumerate(rows):
            seen = row if attention_mask is None else row[np.asarray(attention_mask)[i] != 0]
            np.log(self.next_token_probabilities(seen), out=result[i])
        return result

    def new_cache(self, batch_size: int, max_length: int | None = None) -> None:
        """None: a step looks at the last order - 1 tokens anyway, and has nothing to remember."""

    def generate(
        self,
        prompt: np.ndarray | Sequence[int],
        max_new_tokens: int,
        *,
        temperature: float = 1.0,
        seed: int | np.random.Generator = 0,
    ) -> np.ndarray:
        """Continue `prompt` (T,) by sampling: (T + max_new_tokens,) int64.

        temperature: below 1 more certain, above 1 more varied; 0 always takes the likeliest.
        """
        if temperature < 0:
            raise ValueError(f"generate: temperature={temperature} is not accepted; use >= 0")
        random = np.random.default_rng(seed)
        prompt = self._checked(prompt, "generate")
        ids = np.concatenate([prompt, np.zeros(max_new_tokens, np.int64)])
        for i in range(len(prompt), len(ids)):
            probabilities = self.next_token_probabilities(self._last(ids[:i]))
            if temperature == 0:
                ids[i] = probabilities.argmax()
                continue
            # Dividing by the greatest first keeps a very low temperature from ending in 0 / 0.
            weights = (probabilities / probabilities.max()) ** (1 / temperature)
            ladder = weights.cumsum()
            ids[i] = np.searchsorted(ladder, random.random() * ladder[-1], side="right")
        return ids

    def num_parameters(self) -> int:
        """The number of counts kept."""
        return sum(len(level.keys) for level in self.levels)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write model.safetensors and config.json into a folder."""
        self._ready()
        tensors = {"interpolation_weights": self._weights}
        for k, level in enumerate(self.levels, 1):
            tensors |= {f"{k}-grams.keys": level.keys, f"{k}-grams.counts": level.counts}
        # The configuration goes into both files, so that two halves of different saves, left by
        # a kill between them, are told from one whole.
        save_file(tensors, Path(folder) / "model.safetensors", {"config": _text(self.config)})
        write_json(Path(folder) / "config.json", self.config.to_dict())

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "NGram":
        """Read what `save` wrote. Raises CheckpointError, which names the file or the tensor."""
        weights_path, config_path = Path(folder) / "model.safetensors", Path(folder) / "config.json"
        try:
            config = json.loads(config_path.read_text(encoding="utf-8"))
            model = cls(**{field.name: config[field.name] for field in fields(NGramConfig)})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{config_path}: not an n-gram's configuration: {error}"
            ) from error
        if read_header(weights_path).metadata.get("config") != _text(model.config):
            raise CheckpointError(f"{config_path} and {weights_path} are not of the same save")
        tensors = load_file(weights_path)
        levels: list[Level] = []
        for k in range(1, model.order + 1):
            n_contexts = len(levels[-1].keys) if levels else 1
            levels.append(_read_level(weights_path, tensors, k, model.vocab_size, n_contexts))
        if any((places < 0).any() for places in suffixes(levels)):
            raise CheckpointError(f"{weights_path}: a gram's own end was not counted")
        weights = tensors.get("interpolation_weights")
        if weights is None or weights.shape != model._weights.shape:
            raise CheckpointError(f"{weights_path}: interpolation_weights do not fit")
        model._weights = weights
        model._set_levels(levels)
        return model

    @property
    def _levels_apart(self) -> bool:
        """Whether each level stands alone on the uniform distribution, as in add-k."""
        return self.smoothing in ("laplace", "add-k")

    def _set_levels(self, levels: list[Level]) -> None:
        self.levels = levels
        self._starts = [level.starts() for level in levels]
        if self._levels_apart:
            k = 1.0 if self.smoothing == "laplace" else self.config.k
            self._smoothed = methods.add_k(levels, k)
        elif self.smoothing == "interpolation":
            self._smoothed = methods.interpolation(levels, self._weights)
        else:
            self._smoothed = methods.kneser_ney(levels, self.smoothing == "modified-kneser-ney")

    def _probabilities(self, ids: np.ndarray) -> np.ndarray:
        """Of each of ids (N,), given those before it: (N,). All tokens at once, level by level."""
        uniform = np.full(len(ids), 1 / self.vocab_size)
        result = uniform.copy()
        contexts = np.zeros(len(ids), np.int64)  # of ids[k:]: the k tokens before each, -1 unknown
        for k, (level, smoothed, _) in enumerate(self._ready()):
            grams = level.find(contexts, ids[k:])
            gain = np.where(grams >= 0, smoothed.gain[grams], 0.0)
            keep = np.where(contexts >= 0, smoothed.keep[contexts], 1.0)
            result[k:] = gain + keep * (uniform if self._levels_apart else result)[k:]
            contexts = grams[:-1]
        return result

    def _last(self, ids: np.ndarray) -> np.ndarray:
        """The last order - 1 ids, all that the model looks at."""
        return ids[max(len(ids) - self.order + 1, 0) :]

    def _ready(self) -> Iterator[tuple[Level, Smoothed, np.ndarray]]:
        if not self.levels:
            raise RuntimeError("this NGram has counted nothing yet; call fit, or NGram.load")
        return zip(self.levels, self._smoothed, self._starts, strict=True)

    def _checked(self, ids: np.ndarray | Sequence[int], where: str) -> np.ndarray:
        ids = np.asarray(ids)
        if ids.ndim != 1:
            raise ValueError(f"NGram.{where}: ids must have shape (N,), not {ids.shape}")
        if ids.size == 0:
            return np.zeros(0, np.int64)  # an empty list would be float64
        check_ids(ids, self.vocab_size, f"NGram.{where}")
        return ids.astype(np.int64, copy=False)


def _text(config: NGramConfig) -> str:
    return json.dumps(config.to_dict())


def _read_level(
    path: Path, tensors: dict[str, np.ndarray], k: int, vocab_size: int, n_contexts: int
) -> Level:
    """One level from a checkpoint: sorted keys in range, and a positive count for each."""
    none = np.empty(0)
    keys, counts = (tensors.get(f"{k}-grams.{part}", none) for part in ("keys", "counts"))
    if (
        keys.dtype == counts.dtype == np.int64
        and keys.shape == counts.shape == (keys.size,)
        and keys.size > 0
        and (np.diff(keys) > 0).all()
        and keys[0] >= 0
        and keys[-1] < n_contexts * vocab_size
        and counts.min() >= 1
    ):
        return Level(keys, counts, vocab_size, n_contexts)
    raise CheckpointError(f"{path}: {k}-grams.keys and {k}-grams.counts are no table of counts")
