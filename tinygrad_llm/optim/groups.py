"""Which parameters decay."""

from __future__ import annotations

from typing import Any


def decay_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for an optimiser: what decays by weight_decay, and what does not.

    Matrices and embeddings decay. Biases and the gains of norms (fewer than two axes) do not:
    they are few, and pulling a gain to 0 is no simplification (as minGPT and nanoGPT do). Tied
    parameters are taken once, frozen ones not at all. Both groups are always there, so that
    a saved state fits. model: a Module.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
