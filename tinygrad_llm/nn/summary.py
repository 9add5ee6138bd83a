"""A module as a table: what it consists of, and how much of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygrad_llm.nn.walk import ModuleBase, is_parameter, walk
from tinygrad_llm.tensor import Tensor

if TYPE_CHECKING:
    from tinygrad_llm.nn.module import Module

Row = tuple[str, str, str, str]


def summary(module: Module) -> str:
    """Path, type, shapes and count of the own parameters of every module; then the totals.

    A tied parameter is listed wherever it is used, and counted where it comes first.
    """
    rows: list[Row] = []
    first: dict[int, str] = {}
    total = trainable = bytes_ = buffer_bytes = 0
    for path, type_name, tensors in _parts(module):
        shapes, count = [], 0
        for name, tensor in tensors:
            short = name[len(path) :].lstrip(".")
            shape = "x".join(map(str, tensor.shape)) or "scalar"
            before = first.setdefault(id(tensor), name)
            if not is_parameter(tensor):
                buffer_bytes += tensor.array.nbytes if before == name else 0
                shapes.append(f"{short} {shape} (buffer)")
            elif before != name:
                shapes.append(f"{short} {shape} (tied to {before})")
            else:
                frozen = "" if tensor.requires_grad else " (frozen)"
                shapes.append(f"{short} {shape}{frozen}")
                count += tensor.array.size
                trainable += tensor.array.size if tensor.requires_grad else 0
                bytes_ += tensor.array.nbytes
        total += count
        rows.append((path or "(all)", type_name, ", ".join(shapes), f"{count:,}" if count else ""))
    return "\n".join(
        [
            *_table(("module", "type", "parameters", "count"), rows),
            f"parameters: {total:,} ({trainable:,} trainable), {_size(bytes_)}",
            *([f"buffers: {_size(buffer_bytes)}"] if buffer_bytes else []),
        ]
    )


def _parts(module: Module) -> list[tuple[str, str, list[tuple[str, Tensor]]]]:
    """(path, type, tensors) of every module; a module met again is met with its tensors only."""
    parts: list[tuple[str, str, list[tuple[str, Tensor]]]] = []
    for path, value in walk(module):
        if isinstance(value, ModuleBase):
            parts.append((path, type(value).__name__, []))
        else:
            # Its module is the longest path that leads to it: a list adds to the name.
            owner = next(p for p in reversed(parts) if not p[0] or path.startswith(p[0] + "."))
            owner[2].append((path, value))
    return parts


def _table(head: Row, rows: list[Row]) -> list[str]:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(4)]

    def line(row: Row) -> str:
        cells = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
        return "  ".join([*cells, row[3].rjust(widths[3])]).rstrip()

    rule = "-" * (sum(widths) + 6)
    return [line(head), rule, *(line(row) for row in rows), rule]


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
