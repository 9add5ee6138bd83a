"""The op table: one row for every public operation, read by tests, benchmarks and documentation.

To add an operation is to add a row: its gradient check, its comparison with PyTorch in values,
gradients, shapes and dtypes, and its place in the reference pages follow from it.
"""

from tinygrad_llm.optable import arithmetic, functional, indexing, reductions, shapes
from tinygrad_llm.optable.row import Op, Sample, T, tolerance

OPS: dict[str, Op] = {
    op.name: op
    for room in (arithmetic, reductions, shapes, indexing, functional)
    for op in room.ROWS  # type: ignore[attr-defined]
}

__all__ = ["OPS", "Op", "Sample", "T", "tolerance"]
