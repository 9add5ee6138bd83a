"""Training: one loop that reads like the textbook, and what keeps a long run safe.

config       what a run is, from a TOML file and the command line
parts        the tokenizer and the untrained model that a configuration describes
own_parts    a student's softmax, from a file, in place of the engine's
loop         batches, forward, backward, clip, step, evaluate, save
evaluation   the loss on held-out text, in nats per token and bits per character
run          from a configuration to a trained model in a folder, and on from a checkpoint
recorder     what the loop reports goes to the log, the checkpoints and the screen
checkpoints  folders that survive a kill at any moment
log, plot    JSON lines for programs, a curve for people
progress     what is on the screen while a run goes on
profiling    where the time of a step goes, by operation
demo         the two runs of `tllm demo`

The names below are imported when they are asked for: the command line reads TrainConfig's fields
for its help, and must not wait for the whole engine to be loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygrad_llm.training.config import TrainConfig
    from tinygrad_llm.training.evaluation import Evaluation, evaluate
    from tinygrad_llm.training.loop import Trainer
    from tinygrad_llm.training.profiling import Profile, profile
    from tinygrad_llm.training.run import Run, resume, train

_HOMES = {
    "Evaluation": "evaluation",
    "Profile": "profiling",
    "Run": "run",
    "TrainConfig": "config",
    "Trainer": "loop",
    "evaluate": "evaluation",
    "profile": "profiling",
    "resume": "run",
    "train": "run",
}

__all__ = [
    "Evaluation",
    "Profile",
    "Run",
    "TrainConfig",
    "Trainer",
    "evaluate",
    "profile",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
