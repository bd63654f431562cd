"""The paper's experiments: what is measured and what follows; `run.py` runs them with settings.toml."""

from . import measures as measures
from . import outcome as outcome
from .across import across, transfer
from .adaptive import adaptive, watched
from .beyond import beyond
from .detection import confidence, detection
from .scaling import masking, weak_l2
from .units import Experiment
from .valley import architectures, basin, training_length, valley

EXPERIMENTS = {
    "valley": Experiment(measures.trace, valley),
    "masking": Experiment(measures.sweep, masking),
    "weak_l2": Experiment(measures.sweep, weak_l2),
    "detection": Experiment(measures.attacked, detection),
    "confidence": Experiment(measures.attacked, confidence),
    "adaptive": Experiment(watched, adaptive),
    "across": Experiment(measures.attacked, across),
    "transfer": Experiment(measures.attacked, transfer, together=True),
    "architectures": Experiment(measures.trace, architectures),
    "basin": Experiment(measures.trace, basin),
    "training_length": Experiment(measures.trained, training_length),
    "beyond": Experiment(measures.bracketed, beyond),
}
