"""Cross-validated accuracy and true positive rates of detectors for each radius."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from .._utils.arrays import to_numpy
from .._utils.numbers import check_count, check_radii
from .._utils.validation import check_definition, check_inputs, check_keywords, check_labels
from ..adapters import Adapter, Outputs, adapt
from ..attacks import Attack, AttackResult
from ..attacks.suite import load_single_attack
from ..typing import Definition
from ._classifier import SharpnessClassifier
from ._cross_validated import CrossValidatedDetector
from ._rates import check_rate, not_attacked
from ._transformer import COLUMNS, factors

Detectors = Mapping[str, tuple[Any, Sequence[str]]]
"""Name → classifier and its columns."""


def default_detectors() -> Detectors:
    """A stump and a tree of two thresholds on log κ, and a logistic regression on its factors.

    Returns:
        Name → classifier and columns.

    >>> list(default_detectors())
    ['stump', 'two_thresholds', 'logistic_regression']
    """
    tree = DecisionTreeClassifier(max_depth=2, max_leaf_nodes=3, random_state=0)
    logistic = make_pipeline(StandardScaler(), LogisticRegression())
    return {
        "stump": (SharpnessClassifier(), ("log_kappa",)),
        "two_thresholds": (SharpnessClassifier(tree), ("log_kappa",)),
        "logistic_regression": (SharpnessClassifier(logistic), COLUMNS),
    }


@check_keywords
def detection_table(
    classifier: Any,
    x: Any,
    y: Any,
    attack: Any,
    deltas: float | Sequence[float],
    *,
    norm: Any = None,
    definition: Definition = "paper",
    detectors: Detectors | None = None,
    successful: bool = True,
    folds: int = 5,
    seed: int = 0,
    adaptive: bool = False,
    false_positive_rate: float = 0.05,
) -> pd.DataFrame:
    """Cross-validated accuracy of distinguishing clean from adversarial points, against δ.

    Each adversarial point is paired with its clean point: a fold contains both or neither, and
    there are as many clean as adversarial points, so that guessing scores 0.5.

    A detector also has a true positive rate at a fixed false positive rate: of the given attack, which does not know
    it, and with `adaptive=True` of `art_flat:APGD` with 50 steps on both the classifier and the detector, where a
    sample counts as detected unless the attack finds a wrong prediction that is not flagged.

    Args:
        classifier: The classifier under attack, of ART or adapted.
        x: Clean points, shape (n, *input_shape).
        y: True labels, indices (n,) or one-hot (n, k).
        attack: One attack: a name, an `Attack`, or anything that `as_attack` accepts.
        deltas: Radii of the ball, in units of `clip_values`.
        norm: Norm of the ball; the attack's first if None.
        definition: Definition of the relative sharpness κ.
        detectors: Name → (classifier, columns); `default_detectors()` if None.
        successful: Only clean-correct points that are misclassified when attacked; otherwise all of them.
        folds: Number of folds, at least 2.
        seed: Seed of the attacks and of the folds.
        adaptive: Also attack every detector; takes 50 steps per radius and detector, once for equal attacks.
        false_positive_rate: Share of the clean points of the training folds that may be flagged, in [0, 1].

    Returns:
        One row per δ: `attack`, `norm`, `delta`, `n` pairs, `log_kappa_change` (median of
        log κ(x′) − log κ(x) over the pairs, nats), per detector its balanced accuracy in [0, 1], the mean over the
        folds, and, with `_tpr` and `_adaptive_tpr` after its name, its true positive rates; NaN where there are fewer
        pairs than folds, or the attack was not run. `attrs["findings"]` has the finding `detector-not-attacked` if it
        was not.

    Raises:
        InputError: If inputs cannot be used, there are several attacks, or fewer than two folds.

    Source: arXiv 2510.14231 reports 0.92 for a stump on its CIFAR-10 WideResNet.

    >>> from art_flat.testing import small_problem
    >>> net, x, y = small_problem()
    >>> table = detection_table(net, x, y, "art_flat:PGD(steps=5)", [0.05, 0.1])
    >>> table.columns.tolist()[:5], len(table)
    (['attack', 'norm', 'delta', 'n', 'log_kappa_change'], 2)
    """
    net, single = adapt(classifier), load_single_attack(attack)
    folds = int(check_count(folds, "folds", at_least=2))
    check_definition(definition)
    inputs = check_inputs(
        x, input_shape=net.input_shape, clip_values=net.clip_values, feature_names=net.feature_names
    )
    labels = check_labels(y, len(inputs), net.nb_classes)
    share = check_rate(false_positive_rate)
    pairs = _Pairs(net, inputs, labels, net.outputs(inputs), definition, successful)
    chosen = default_detectors() if detectors is None else detectors
    rows = []
    for delta in check_radii(deltas):
        ball = {"delta": delta, "norm": norm, "seed": seed}
        result = pairs.attacked(single, ball)
        usable = pairs.usable(result)
        pair = np.stack([pairs.factors(outputs)[usable] for outputs in (pairs.clean, result.outputs)])
        tests = {
            name: CrossValidatedDetector(*detector, pair, folds, seed, share)
            for name, detector in chosen.items()
        }
        plain = {f"{name}_tpr": test.true_positive_rate(pair[1]) for name, test in tests.items()}
        known = _adaptive_rates(tests, pairs, usable, ball) if adaptive else {}
        rows.append(
            {
                **{"attack": result.attack, "norm": result.norm, "delta": delta, "n": pair.shape[1]},
                "log_kappa_change": _median(pair[1, :, -1] - pair[0, :, -1]),
                **{name: test.balanced_accuracy() for name, test in tests.items()},
                **plain,
                **{f"{name}_adaptive_tpr": known.get(name, float("nan")) for name in tests},
            }
        )
    table = pd.DataFrame(rows)
    table.attrs["findings"] = [] if adaptive else [not_attacked(single.name)]
    return table


@dataclass(frozen=True)
class _Pairs:
    """Clean points, to be paired with their adversarial points."""

    net: Adapter
    inputs: torch.Tensor
    labels: torch.Tensor
    clean: Outputs
    definition: Definition
    successful: bool

    def attacked(self, attack: Attack, ball: Mapping[str, Any]) -> AttackResult:
        """The result of an attack in a ball around every clean point."""
        return attack(self.net, self.inputs, self.labels, clean=self.clean, **ball)

    def factors(self, outputs: Outputs) -> np.ndarray:
        """Factors of κ, shape (n, 4)."""
        return factors(self.net, outputs, self.definition)

    def usable(self, result: AttackResult) -> np.ndarray:
        """Mask of the samples whose clean and adversarial points are a pair, bool (n,)."""
        usable: np.ndarray = to_numpy(result.within_budget) & (result.status != "failed")
        if self.successful:
            predicted = self.clean.logits.argmax(dim=1).cpu()
            usable &= to_numpy(result.success) & to_numpy(predicted == self.labels.cpu())
        return usable


def _adaptive_rates(
    tests: Mapping[str, CrossValidatedDetector], pairs: _Pairs, usable: np.ndarray, ball: Mapping[str, Any]
) -> dict[str, float]:
    """Name of the detector → true positive rate of the attack that knows it."""
    rates: dict[str, float] = {}
    results: dict[str, AttackResult] = {}
    for name, test in tests.items():
        if not test.fitted:
            continue
        attack = test.attack(pairs.definition)
        if attack.name not in results:
            results[attack.name] = pairs.attacked(attack, ball)
        result = results[attack.name]
        found = to_numpy(result.success)[usable]
        rates[name] = test.true_positive_rate(pairs.factors(result.outputs)[usable], found)
    return rates


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")
