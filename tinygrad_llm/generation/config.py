"""What can be asked of generation: names, defaults and meanings are Hugging Face's."""

import dataclasses
import difflib
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_llm.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class GenerationConfig:
    """How to continue a prompt. Values that make no sense are a ConfigError that names them.

    Length: max_new_tokens, or max_length, which counts the (padded) prompt as well; 20 new tokens
    if neither is given, and max_new_tokens counts if both are.

    Greedy search is the default. do_sample draws instead, after temperature, top_k, top_p and
    min_p (see `sampling`). num_beams > 1 is beam search (see `beam`): length_penalty > 0 prefers
    longer texts; early_stopping=True ends a search once num_beams texts are complete, False when
    the running ones seem to have no chance to beat them, "never" when they provably have none.
    Both together draw the beams.

    num_return_sequences: texts for each prompt, side by side in the output.
    eos_token_id: a token or several that end a text; None asks the model's config, () is none.
    pad_token_id: fills up what ended early, and short prompts on the left.
    stop_strings: texts that end a text; they need the `tokenizer`.
    use_cache=False recomputes everything for every token: the slow path that the fast one is
    held to. seed: the same seed gives the same text for a prompt, whatever else is in the batch;
    None takes one from the engine's random state (`manual_seed`).
    """

    max_new_tokens: int | None = None
    max_length: int | None = None
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    num_return_sequences: int = 1
    eos_token_id: int | Sequence[int] | None = None
    pad_token_id: int | None = None
    stop_strings: str | Sequence[str] | None = None
    use_cache: bool = True
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "max_length"):
            self._check(name, _is_none, _at_least(1), accepted="an integer of at least 1")
        for name in ("num_beams", "num_return_sequences"):
            self._check(name, _at_least(1), accepted="an integer of at least 1")
        for name in ("do_sample", "use_cache"):
            self._check(name, lambda x: isinstance(x, bool), accepted="True or False")
        self._check(
            "temperature",
            lambda x: _is_number(x) and x >= 1e-6,
            accepted="a number above 0 (towards 0 it is greedy search, which is do_sample=False)",
        )
        self._check(
            "top_k", _is_none, _at_least(0), accepted="an integer of at least 1 (0 or None: all)"
        )
        for name in ("top_p", "min_p"):
            accepted = "a number from 0 to 1, or None"
            self._check(name, _is_none, lambda x: _is_number(x) and 0 <= x <= 1, accepted=accepted)
        self._check(
            "repetition_penalty",
            lambda x: _is_number(x) and x > 0,
            accepted="a number above 0 (1: no penalty, above 1: fewer repetitions)",
        )
        self._check("length_penalty", _is_number, accepted="a finite number")
        self._check(
            "early_stopping",
            lambda x: isinstance(x, bool) or x == "never",
            accepted='True, False or "never"',
        )
        self._check(
            "eos_token_id",
            _is_none,
            _at_least(0),
            lambda x: isinstance(x, list | tuple | np.ndarray) and all(map(_at_least(0), x)),
            accepted="a token id, or a list of them",
        )
        self._check("pad_token_id", _is_none, _at_least(0), accepted="a token id")
        self._check(
            "stop_strings",
            _is_none,
            lambda x: isinstance(x, str) and x != "",
            lambda x: isinstance(x, list | tuple) and all(isinstance(s, str) and s for s in x),
            accepted="a text that is not empty, or a list of them",
        )
        self._check("seed", _is_none, _at_least(0), accepted="an integer of at least 0")
        self._check_together()

    @classmethod
    def of(cls, base: "GenerationConfig | None", options: dict[str, Any]) -> "GenerationConfig":
        """`base`, or the defaults, with the given options put in."""
        names = [field.name for field in dataclasses.fields(cls)]
        for name in options:
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(names)}"
                raise TypeError(f"generate: there is no argument {name!r}; {hint}")
        return dataclasses.replace(base, **options) if base else cls(**options)

    @property
    def stops(self) -> tuple[str, ...]:
        stops = self.stop_strings or ()
        return (stops,) if isinstance(stops, str) else tuple(stops)

    def new_tokens(self, prompt_length: int) -> int:
        """How many tokens to add to prompts of this (padded) length, at most."""
        if self.max_new_tokens is not None:
            return self.max_new_tokens
        if self.max_length is None:
            return 20
        if self.max_length <= prompt_length:
            raise ConfigError(
                f"generate: max_length={self.max_length} leaves no room after a prompt of "
                f"{prompt_length} tokens; use at least {prompt_length + 1}, or max_new_tokens"
            )
        return self.max_length - prompt_length

    def _check(self, name: str, *tests: Any, accepted: str) -> None:
        value = getattr(self, name)
        if not any(test(value) for test in tests):
            raise ConfigError(f"generate: {name}={value!r} is not accepted; use {accepted}")

    def _check_together(self) -> None:
        wanted = self.num_return_sequences
        if 1 < self.num_beams < wanted:
            raise ConfigError(
                f"generate: num_return_sequences={wanted} is more than num_beams={self.num_beams}; "
                f"a beam search finds as many texts as it has beams"
            )
        if self.num_beams == 1 and wanted > 1 and not self.do_sample:
            raise ConfigError(
                f"generate: num_return_sequences={wanted} is not accepted with greedy search, "
                f"which finds one text; use do_sample=True, or num_beams={wanted}"
            )
        if not self.do_sample:
            self._warn("temperature", self.temperature != 1, "do_sample=True")
            self._warn("top_k", self.top_k not in (None, 0), "do_sample=True")
            self._warn("top_p", self.top_p not in (None, 1), "do_sample=True")
            self._warn("min_p", self.min_p not in (None, 0), "do_sample=True")
        if self.num_beams == 1:
            self._warn("length_penalty", self.length_penalty != 1, "num_beams > 1")
            self._warn("early_stopping", self.early_stopping is not False, "num_beams > 1")

    def _warn(self, name: str, given: bool, remedy: str) -> None:
        if given:
            value = getattr(self, name)
            warnings.warn(
                f"generate: {name}={value!r} has no effect without {remedy}", stacklevel=2
            )


def _is_none(value: Any) -> bool:
    return value is None


def _at_least(least: int) -> Any:
    def test(value: Any) -> bool:
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        return whole and value >= least

    return test


def _is_number(value: Any) -> bool:
    real = isinstance(value, int | float | np.integer | np.floating)
    return real and not isinstance(value, bool) and math.isfinite(value)
