"""Run attacks over a grid of models, norms and radii, and read every score from the records."""

from .results import Results as Results
from .runner import Progress as Progress
from .runner import evaluate as evaluate
from .summary import ALL_ATTACKS as ALL_ATTACKS

__all__ = ["ALL_ATTACKS", "Progress", "Results", "evaluate"]
