"""The papers' analyses: trajectories into the uncanny valley, head scaling, curvature away from the data."""

from .profile import RadialProfile as RadialProfile
from .profile import radial_profile as radial_profile
from .scaling import ScaledHead as ScaledHead
from .scaling import ScaleSweep as ScaleSweep
from .scaling import scale_sweep as scale_sweep
from .trajectory import Trajectories as Trajectories
from .trajectory import trace_attack as trace_attack

__all__ = [
    "RadialProfile",
    "ScaleSweep",
    "ScaledHead",
    "Trajectories",
    "radial_profile",
    "scale_sweep",
    "trace_attack",
]
