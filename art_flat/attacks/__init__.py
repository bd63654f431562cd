"""Attacks of every supported library behind one interface, and art_flat's own loss maximisers."""

from .base import Attack as Attack
from .base import AttackInfo as AttackInfo
from .base import AttackResult as AttackResult
from .base import Problem as Problem
from .own import as_attack as as_attack
from .registry import PluginWarning as PluginWarning
from .registry import list_attacks as list_attacks
from .registry import load_attack as load_attack
from .suite import SUITES as SUITES
from .suite import SuiteWarning as SuiteWarning
from .suite import load_attacks as load_attacks
from .suite import load_suite as load_suite

__all__ = [
    "SUITES",
    "Attack",
    "AttackInfo",
    "AttackResult",
    "PluginWarning",
    "Problem",
    "SuiteWarning",
    "as_attack",
    "list_attacks",
    "load_attack",
    "load_attacks",
    "load_suite",
]
