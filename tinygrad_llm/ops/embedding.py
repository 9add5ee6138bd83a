"""Looking up rows of a table."""

from typing import Any

from tinygrad_llm.autograd import Array, Function
from tinygrad_llm.device import kernel


class Embedding(Function):
    """ids: (...) in range, weight: (V, C) -> (..., C); row padding_idx gets no gradient."""

    def forward(self, ids: Array, weight: Array, padding_idx: int | None = None) -> Array:
        self.ids, self.rows, self.padding_idx = ids, weight.shape[0], padding_idx
        return kernel("embedding", "embedding_forward", weight)(ids, weight)

    def backward(self, dout: Array) -> Any:
        dweight = kernel("embedding", "embedding_backward", dout)(dout, self.ids, self.rows)
        if self.padding_idx is not None:
            dweight[self.padding_idx] = 0
        return None, dweight
