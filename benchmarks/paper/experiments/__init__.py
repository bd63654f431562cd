"""The paper's experiments as functions of nets and settings; `run.py` calls them with settings.toml."""

from . import outcome as outcome
from .across import across, architectures
from .adaptive import adaptive
from .beyond import beyond
from .detection import detection
from .scaling import masking, weak_l2
from .valley import basin, valley

EXPERIMENTS = {
    f.__name__: f
    for f in (weak_l2, masking, valley, basin, detection, across, architectures, adaptive, beyond)
}
