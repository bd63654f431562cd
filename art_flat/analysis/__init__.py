"""The papers' analyses: trajectories into the uncanny valley, head scaling, curvature away from the data."""

from .trajectory import Trajectories as Trajectories
from .trajectory import trace_attack as trace_attack

__all__ = ["Trajectories", "trace_attack"]
