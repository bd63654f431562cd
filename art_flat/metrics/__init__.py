"""ART-style metrics: `metric(classifier, x, y, ...)` for an ART classifier or an adapter.

All metrics share these rules. Adversarial points are given by `x_adv` (an array of the shape of `x`, or a list of
such arrays) or computed by `attack` (a name, a suite, an attack of art_flat, of ART or of torchattacks, a function, or
a list of these). With several, the worst point of each sample counts; attacks of a fixed budget that do not support
`norm` are skipped with an `AttackNotRunWarning`. The clean point is in the ball too. Points of an attack that lie
outside the ball count as the clean point; given points outside it are an error; points outside only by the rounding of
float32 are projected into it. Where an attack failed, the sample is NaN and excluded. Attacks yield upper
estimates of robustness; `certified_loss_change_robustness` is a lower bound;
`loss_change_robustness_bracket` returns both.

`reduction` is `"mean"`, `"quantile"` (an order statistic, never a mean of two values), or `"none"` for one number
per sample, in the same kind of array as `x`.

## With ART and scikit-learn
```python
from art.attacks.evasion import FastGradientMethod
from art_flat import metrics
from art_flat.detection import SharpnessDetector
from art_flat.evaluation import FlatnessEvaluation

fgsm = FastGradientMethod(classifier, eps=0.1)          # an attack of ART
metrics.loss_increase(classifier, x, y, x_adv=fgsm.generate(x), delta=0.1)            # nats
metrics.loss_change_robustness(classifier, x, y, attack="art_flat:PGD", delta=0.1, epsilon=0.1)
metrics.loss_increase_over_radii(classifier, x, y, deltas=[0.02, 0.05, 0.1])           # one attack for all radii
metrics.minimum_loss_increase(classifier, x, y, attack=["art_flat:PGD", fgsm], delta=0.1, reduction="none")
metrics.certified_loss_change_robustness(classifier, x, y, delta=0.001, epsilon=0.1)  # no attack: a lower bound

curve = FlatnessEvaluation([0.02, 0.05, 0.1], epsilons=[0.1, 1.0])      # in place of ART's SecurityCurve
deltas, robust_accuracy, accuracy = curve.evaluate(classifier, x, y)
curve.surface()                                                         # share with Δℓ ≤ ε for every δ and ε

import numpy as np
detector = SharpnessDetector(classifier)                                # an ART EvasionDetector; a stump on log κ
both = np.concatenate([x, fgsm.generate(x)])
detector.fit(both, np.repeat([0, 1], len(x)))
report, is_adversarial = detector.detect(both)
rates = detector.true_positive_rates(x, y, "art_flat:PGD", delta=0.1)   # rates.plain, and rates.adaptive against
                                                                        # an attack that knows the detector
```
`art_flat.scorers` has objects for `scoring=` of scikit-learn, `art_flat.torchmetrics` metrics for a training loop
(extra `torchmetrics`), `art_flat.regularization.FlatnessRegularizer` a differentiable penalty; `python -m
art_flat_mlflow DIR` logs a results folder to MLflow (extra `mlflow`).
"""

from ._case import AttackNotRunWarning as AttackNotRunWarning
from ._case import OutsideBallWarning as OutsideBallWarning
from .certified import RobustnessBracket as RobustnessBracket
from .certified import certified_accuracy as certified_accuracy
from .certified import certified_loss_change_robustness as certified_loss_change_robustness
from .certified import input_radius as input_radius
from .certified import loss_change_robustness_bracket as loss_change_robustness_bracket
from .flatness import adversarial_flatness as adversarial_flatness
from .flatness import relative_sharpness as relative_sharpness
from .over_radii import loss_increase_over_radii as loss_increase_over_radii
from .robustness import loss_change_robustness as loss_change_robustness
from .robustness import loss_increase as loss_increase
from .robustness import minimum_loss_increase as minimum_loss_increase
from .robustness import prediction_change_robustness as prediction_change_robustness

__all__ = [
    "AttackNotRunWarning",
    "OutsideBallWarning",
    "RobustnessBracket",
    "adversarial_flatness",
    "certified_accuracy",
    "certified_loss_change_robustness",
    "input_radius",
    "loss_change_robustness",
    "loss_change_robustness_bracket",
    "loss_increase",
    "loss_increase_over_radii",
    "minimum_loss_increase",
    "prediction_change_robustness",
    "relative_sharpness",
]
