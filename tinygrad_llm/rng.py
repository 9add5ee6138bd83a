"""The one random state: what `manual_seed` sets, and what a checkpoint saves to resume exactly.

Two streams with one seed. `generator` (NumPy's Philox) makes initial weights and samples. Dropout
and the like take `next_stream()`: a (seed, number) pair from which a counter-based generator makes
the same bits on every device, in any order (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC 2011); only the pair has to be kept for the backward pass, not the mask.
"""

from typing import Any

import numpy as np


class RandomState:
    """A Philox generator and a counter of dropout calls, both from one seed."""

    def __init__(self, seed: int = 0):
        self.seed(seed)

    def seed(self, seed: int) -> None:
        if not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(f"manual_seed: seed={seed!r} is not accepted; use an integer >= 0")
        self.initial_seed = int(seed)
        self.generator = np.random.Generator(np.random.Philox(self.initial_seed))
        self.streams = 0

    def next_stream(self) -> tuple[int, int]:
        """(seed, number of this call): names one stream of random bits."""
        self.streams += 1
        return self.initial_seed, self.streams

    def state_dict(self) -> dict[str, Any]:
        """Everything, as plain numbers for a JSON file."""
        philox = self.generator.bit_generator.state
        return {
            "seed": self.initial_seed,
            "streams": self.streams,
            "counter": [int(n) for n in philox["state"]["counter"]],
            "key": [int(n) for n in philox["state"]["key"]],
            "buffer": [int(n) for n in philox["buffer"]],
            "buffer_pos": int(philox["buffer_pos"]),
            "has_uint32": int(philox["has_uint32"]),
            "uinteger": int(philox["uinteger"]),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seed(state["seed"])
        self.streams = state["streams"]
        self.generator.bit_generator.state = {
            "bit_generator": "Philox",
            "state": {
                "counter": np.array(state["counter"], np.uint64),
                "key": np.array(state["key"], np.uint64),
            },
            "buffer": np.array(state["buffer"], np.uint64),
            "buffer_pos": state["buffer_pos"],
            "has_uint32": state["has_uint32"],
            "uinteger": state["uinteger"],
        }


state = RandomState()


def manual_seed(seed: int) -> None:
    """Make all that follows repeatable: initial weights, dropout, sampling."""
    state.seed(seed)
