"""Detection of adversarial points by their sharpness, for ART and scikit-learn."""

from ._classifier import SharpnessClassifier as SharpnessClassifier
from ._detector import SharpnessDetector as SharpnessDetector
from ._rates import DetectionRates as DetectionRates
from ._table import default_detectors as default_detectors
from ._table import detection_table as detection_table
from ._transformer import COLUMNS as COLUMNS
from ._transformer import FLOOR as FLOOR
from ._transformer import SharpnessTransformer as SharpnessTransformer

__all__ = [
    "COLUMNS",
    "FLOOR",
    "DetectionRates",
    "SharpnessClassifier",
    "SharpnessDetector",
    "SharpnessTransformer",
    "default_detectors",
    "detection_table",
]
