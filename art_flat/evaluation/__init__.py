"""Run attacks over a grid of models, norms and radii, and read every score from the records."""

from ..diagnostics import Finding as Finding
from ..diagnostics import diagnose as diagnose
from ..records import ALL_ATTACKS as ALL_ATTACKS
from ._evaluate import evaluate as evaluate
from .art import FlatnessEvaluation as FlatnessEvaluation
from .merging import Merged as Merged
from .merging import merge as merge
from .planning import Plan as Plan
from .planning import plan as plan
from .progress import Progress as Progress
from .results import Results as Results

__all__ = [
    "ALL_ATTACKS",
    "Finding",
    "FlatnessEvaluation",
    "Merged",
    "Plan",
    "Progress",
    "Results",
    "diagnose",
    "evaluate",
    "merge",
    "plan",
]
