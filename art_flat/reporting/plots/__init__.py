"""Every figure of the report as a function that returns a matplotlib `Figure`, for PNG, SVG or PDF."""

from .analyses import plot_radial_profile as plot_radial_profile
from .analyses import plot_scale_sweep as plot_scale_sweep
from .analyses import plot_trajectories as plot_trajectories
from .attacks import plot_attacks as plot_attacks
from .curves import plot_bracket as plot_bracket
from .curves import plot_security_curve as plot_security_curve
from .curves import plot_surface as plot_surface
from .detection import plot_detection as plot_detection
from .samples import plot_samples as plot_samples
from .sharpness import plot_confidence as plot_confidence
from .sharpness import plot_distributions as plot_distributions
from .sharpness import plot_kappa as plot_kappa

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
]
