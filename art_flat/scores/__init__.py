"""Scores: truth, then predictions, then options; arrays in, a float out, no model is run.

## Example
Scores take arrays and return a float, as in scikit-learn:
```python
from art_flat.scores import flatness_ratio, loss_change_robustness_score

loss_change_robustness_score(y, net.logits(x), net.logits(adv.x), epsilon=0.1)    # share with Δℓ ≤ 0.1 nats
flatness_ratio(net.log_relative_sharpness(x), net.log_relative_sharpness(adv.x))  # median; < 1: adversarial is flatter
```
"""

from .flatness import FlatnessDecomposition as FlatnessDecomposition
from .flatness import MatchedFlatness as MatchedFlatness
from .flatness import confidently_wrong_fraction as confidently_wrong_fraction
from .flatness import flat_adversarial_fraction as flat_adversarial_fraction
from .flatness import flatness_at_matched_confidence as flatness_at_matched_confidence
from .flatness import flatness_decomposition as flatness_decomposition
from .flatness import flatness_ratio as flatness_ratio
from .minimum import minimum_adversarial_distance as minimum_adversarial_distance
from .minimum import minimum_loss_increase as minimum_loss_increase
from .optimality import distance_optimality_score as distance_optimality_score
from .optimality import loss_optimality_score as loss_optimality_score
from .robustness import loss_change_robustness_score as loss_change_robustness_score
from .robustness import prediction_robustness_score as prediction_robustness_score
from .robustness import robust_accuracy_on_correct_score as robust_accuracy_on_correct_score
from .robustness import robust_accuracy_score as robust_accuracy_score
from .robustness import wrong_prediction_found_fraction as wrong_prediction_found_fraction

__all__ = [
    "FlatnessDecomposition",
    "MatchedFlatness",
    "confidently_wrong_fraction",
    "distance_optimality_score",
    "flat_adversarial_fraction",
    "flatness_at_matched_confidence",
    "flatness_decomposition",
    "flatness_ratio",
    "loss_change_robustness_score",
    "loss_optimality_score",
    "minimum_adversarial_distance",
    "minimum_loss_increase",
    "prediction_robustness_score",
    "robust_accuracy_on_correct_score",
    "robust_accuracy_score",
    "wrong_prediction_found_fraction",
]
