"""Training of networks: stochastic gradient descent, also against an adversary, in runs that can be interrupted.

`train` is the loop; `art-flat train config.toml` runs it from a file.
"""

from ._adversary import Adversary as Adversary
from ._train import train as train
from .settings import TrainingSettings as TrainingSettings

__all__ = ["Adversary", "TrainingSettings", "train"]
