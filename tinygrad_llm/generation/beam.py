"""Beam search: follow the num_beams likeliest texts at once, and return the best complete ones.

Greedy search takes the likeliest token and may find that nothing likely can follow. A beam search
judges texts by the sum of the log-probabilities of their tokens, divided by
length ** length_penalty (Wu et al., "Google's Neural Machine Translation System", 2016, section 7,
in the simpler form of `transformers`), since every token makes the sum smaller. The rules of what
is kept and when to stop are those of `transformers`, whose output this equals.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_llm.generation import sampling
from tinygrad_llm.generation.context import Reader

# The score of beams that are only there to fill the places: worse than any other, but not -inf,
# so that among them, too, some are better. (A vocabulary can be smaller than the number of beams.)
_DEAD = -1e9


class Beams:
    """The search for the continuations of one prompt.

    ends(ids) tells whether a text ends with its last token. generator: draw the candidates
    instead of taking the best.
    """

    def __init__(
        self,
        config: Any,
        new_tokens: int,
        n_candidates: int,
        ends: Callable[[np.ndarray], bool],
        generator: np.random.Generator | None = None,
    ):
        self.config = config
        self.new_tokens = new_tokens
        self.n_candidates = n_candidates
        self.ends = ends
        self.generator = generator
        # All beams start from the same prompt: only the first may count, or they would stay equal.
        self.scores = np.full(config.num_beams, _DEAD)  # of the running texts, best first
        self.scores[0] = 0
        self.complete: list[tuple[float, np.ndarray]] = []  # (score, new ids), best first
        self.open = True

    def advance(self, log_probs: np.ndarray, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One more token for the running texts (K, t), from log_probs (K, V) of the next.

        Returns the new running texts as (which text, which token), (K,) each.
        """
        beams, length = self.config.num_beams, texts.shape[1] + 1
        scores = (self.scores[:, None] + log_probs).ravel()  # (K * V,)
        chosen = self._candidates(scores)
        scores = scores[chosen]
        parents, tokens = np.divmod(chosen, log_probs.shape[1])

        ended = np.full(len(chosen), length == self.new_tokens)
        for rank, (parent, token) in enumerate(zip(parents, tokens, strict=True)):
            text = np.append(texts[parent], token)
            ended[rank] = ended[rank] or self.ends(text)
            # Candidates beyond the K-th are there to run on in the place of those that end.
            if ended[rank] and rank < beams:
                self.complete.append((scores[rank] / length**self.config.length_penalty, text))
        self.complete = sorted(self.complete, key=lambda item: -item[0])[:beams]  # stable

        scores = np.where(ended, scores + _DEAD, scores)
        running = np.argsort(-scores, kind="stable")[:beams]
        self.scores = scores[running]
        self.open = not ended.all() and self._may_improve(length)
        return parents[running], tokens[running]

    def _candidates(self, scores: np.ndarray) -> np.ndarray:
        if self.generator is not None:
            # The greatest after adding Gumbel noise are a sample without replacement from
            # softmax(scores): Kool et al., "Stochastic Beams and Where to Find Them" (2019).
            scores = scores - np.log(self.generator.standard_exponential(len(scores)))
        return sampling.best(scores, self.n_candidates)

    def _may_improve(self, length: int) -> bool:
        """Whether a running text could still replace the worst complete one."""
        if len(self.complete) < self.config.num_beams:
            return True
        if self.config.early_stopping is True:
            return False
        penalty = self.config.length_penalty
        if self.config.early_stopping == "never" and penalty > 0:
            length = self.new_tokens  # if all further tokens were certain
        return self.scores[0] / length**penalty > self.complete[-1][0]


def search(
    reader: Reader, searches: list[Beams], inference: Any, min_tokens_to_keep: int
) -> list[list[np.ndarray]]:
    """Run one search for each prompt of `reader`: for each, its complete texts, best first."""
    prompt_width = reader.width
    running = searches
    while True:
        with inference:
            log_probs = sampling.log_softmax(reader.read())  # (prompts * K, V)
            config = running[0].config
            log_probs = sampling.process(
                log_probs, reader.ids, config, reader.padding, min_tokens_to_keep
            )
        beams = config.num_beams
        rows, tokens = [], []
        for number, beam in enumerate(running):
            mine = slice(number * beams, (number + 1) * beams)
            parents, chosen = beam.advance(log_probs[mine], reader.ids[mine, prompt_width:])
            if beam.open:
                rows.append(mine.start + parents)
                tokens.append(chosen)
        running = [beam for beam in running if beam.open]
        if not running:
            return [[text for _, text in beam.complete] for beam in searches]
        reader.select(np.concatenate(rows))
        reader.append(np.concatenate(tokens))
