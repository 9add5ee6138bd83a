"""Training: one loop that reads like the textbook, and what keeps a long run safe.

config   what a run is, from a TOML file and the command line
loop     batches, forward, backward, clip, step, evaluate, save
run      from a configuration to a trained model in a folder
resume   checkpoints that survive a kill at any moment
log      JSON lines, the progress on screen, the loss curve
profile  where the time of a step goes, by operation
"""

from tinygrad_llm.training.config import TrainConfig
from tinygrad_llm.training.evaluate import Evaluation, evaluate
from tinygrad_llm.training.loop import Trainer
from tinygrad_llm.training.profile import Profile, profile
from tinygrad_llm.training.run import Run, resume, train

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
