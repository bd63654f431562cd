"""Figures for papers (matplotlib) and the report of a run as one HTML file."""

from ._markdown import to_markdown as to_markdown
from ._page import write_report as write_report
from ._robustbench import to_robustbench as to_robustbench
from .plots import plot_attacks as plot_attacks
from .plots import plot_bracket as plot_bracket
from .plots import plot_confidence as plot_confidence
from .plots import plot_detection as plot_detection
from .plots import plot_distributions as plot_distributions
from .plots import plot_kappa as plot_kappa
from .plots import plot_radial_profile as plot_radial_profile
from .plots import plot_samples as plot_samples
from .plots import plot_scale_sweep as plot_scale_sweep
from .plots import plot_security_curve as plot_security_curve
from .plots import plot_surface as plot_surface
from .plots import plot_trajectories as plot_trajectories

__all__ = [
    "plot_attacks",
    "plot_bracket",
    "plot_confidence",
    "plot_detection",
    "plot_distributions",
    "plot_kappa",
    "plot_radial_profile",
    "plot_samples",
    "plot_scale_sweep",
    "plot_security_curve",
    "plot_surface",
    "plot_trajectories",
    "to_markdown",
    "to_robustbench",
    "write_report",
]
