"""Training of networks: gradient descent, also against an adversary or on certified bounds, in runs that resume.

`train` is the loop; `art-flat train config.toml` runs it from a file.
"""

from ._adversary import Adversary as Adversary
from ._certified import CertifiedLoss as CertifiedLoss
from ._digits import trained_digits_cnn as trained_digits_cnn
from ._train import train as train
from .settings import TrainingSettings as TrainingSettings

__all__ = ["Adversary", "CertifiedLoss", "TrainingSettings", "train", "trained_digits_cnn"]
