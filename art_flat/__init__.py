"""art_flat: loss-change robustness, relative sharpness and certificates for classifiers in ART.

Names are loaded on first use; `import art_flat` alone loads neither torch nor ART.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__

if TYPE_CHECKING:
    from .adapters import Adapter as Adapter
    from .adapters import adapt as adapt
    from .analysis import radial_profile as radial_profile
    from .analysis import scale_sweep as scale_sweep
    from .analysis import trace_attack as trace_attack
    from .attacks import Attack as Attack
    from .attacks import list_attacks as list_attacks
    from .attacks import load_attack as load_attack
    from .attacks import load_suite as load_suite
    from .datasets import load_dataset as load_dataset
    from .evaluation import Results as Results
    from .evaluation import evaluate as evaluate


_HOME = {
    "Adapter": "adapters",
    "adapt": "adapters",
    "radial_profile": "analysis",
    "scale_sweep": "analysis",
    "trace_attack": "analysis",
    "Attack": "attacks",
    "list_attacks": "attacks",
    "load_attack": "attacks",
    "load_suite": "attacks",
    "load_dataset": "datasets",
    "Results": "evaluation",
    "evaluate": "evaluation",
}
_MODULES = (
    "adapters",
    "analysis",
    "attacks",
    "certification",
    "datasets",
    "detection",
    "diagnostics",
    "errors",
    "evaluation",
    "functional",
    "metrics",
    "models",
    "records",
    "regularization",
    "reporting",
    "scorers",
    "scores",
    "summaries",
    "testing",
    "torchmetrics",
    "training",
    "typing",
)

__all__ = [
    "Adapter",
    "Attack",
    "Results",
    "__version__",
    "adapt",
    "evaluate",
    "list_attacks",
    "load_attack",
    "load_dataset",
    "load_suite",
    "radial_profile",
    "scale_sweep",
    "trace_attack",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES})
