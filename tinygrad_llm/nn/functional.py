"""PyTorch's address of the functions: `import tinygrad_llm.nn.functional as F`.

They live in `tinygrad_llm.functional` and are looked up there at each use, replaced parts included.
"""

from typing import Any

from tinygrad_llm import functional


def __getattr__(name: str) -> Any:
    return getattr(functional, name)


def __dir__() -> list[str]:
    return dir(functional)
