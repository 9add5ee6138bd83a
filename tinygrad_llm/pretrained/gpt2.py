"""GPT-2's tensors as Hugging Face stores them, and as our modules name them.

The names are the same but for two things. Checkpoints of the bare model leave the prefix
"transformer." out (OpenAI's on the hub do). And the four products of a block are in `Conv1D`s
there, whose weight is (in, out); ours are `Linear`s, (out, in), as everywhere else.
"""

import re
from collections.abc import Mapping

import numpy as np

PREFIX = "transformer."

# Stored (in, out).
TRANSPOSED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")

# Old versions saved the causal mask and the number that stood for -infinity with the weights.
IGNORED = re.compile(r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)")


def from_hugging_face(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Their names and axis order -> those of `models.gpt.GPT2LMHeadModel`."""
    ours: dict[str, np.ndarray] = {}
    for name, array in tensors.items():
        if IGNORED.fullmatch(name):
            continue
        if not name.startswith((PREFIX, "lm_head.")):
            name = PREFIX + name
        ours[name] = _exchanged(name, array)
    return ours


def to_hugging_face(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inverse, with the prefix."""
    return {name: _exchanged(name, array) for name, array in tensors.items()}


def _exchanged(name: str, array: np.ndarray) -> np.ndarray:
    # A tensor of other than two axes is wrong, and will be reported by name where it is loaded.
    return array.T if name.endswith(TRANSPOSED) and array.ndim == 2 else array
