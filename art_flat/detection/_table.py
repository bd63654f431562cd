"""Cross-validated accuracy of the detector for each radius."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from .._utils.arrays import to_numpy
from .._utils.validation import (
    check_count,
    check_definition,
    check_delta,
    check_inputs,
    check_labels,
    reject_eps_argument,
)
from ..adapters import Adapter, Outputs, adapt
from ..attacks import AttackResult
from ..attacks.suite import load_attacks
from ..errors import InputError
from ..typing import Definition
from ._classifier import SharpnessClassifier
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


@reject_eps_argument
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
) -> pd.DataFrame:
    """Cross-validated accuracy of distinguishing clean from adversarial points, against δ.

    Each adversarial point is paired with its clean point: a fold contains both or neither, and
    there are as many clean as adversarial points, so that guessing scores 0.5.

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
        seed: Seed of the attack and of the folds.

    Returns:
        One row per δ: `attack`, `norm`, `delta`, `n` pairs, `log_kappa_change` (median of log κ(x′) − log κ(x)
        over the pairs, nats), and per detector its balanced accuracy in [0, 1], the mean over the folds; NaN
        where there are fewer pairs than folds.

    Raises:
        InputError: If inputs cannot be used, there are several attacks, or fewer than two folds.

    Source: arXiv 2510.14231 reports 0.92 for a stump on its CIFAR-10 WideResNet.

    >>> from art_flat.testing import small_problem
    >>> net, x, y = small_problem()
    >>> table = detection_table(net, x, y, "art_flat:PGD(steps=5)", [0.05, 0.1])
    >>> table.columns.tolist()[:5], len(table)
    (['attack', 'norm', 'delta', 'n', 'log_kappa_change'], 2)
    """
    net, attacks = adapt(classifier), load_attacks(attack)
    if len(attacks) != 1:
        raise InputError(f"`attack` names {len(attacks)} attacks; pass one, and call once for each")
    folds = int(check_count(folds, "folds", at_least=2))
    check_definition(definition)
    inputs = check_inputs(
        x, input_shape=net.input_shape, clip_values=net.clip_values, feature_names=net.feature_names
    )
    labels = check_labels(y, len(inputs), net.nb_classes)
    pairs = _Pairs(net, labels, net.outputs(inputs), definition, successful)
    chosen = default_detectors() if detectors is None else detectors
    rows = []
    for delta in map(check_delta, np.atleast_1d(deltas).tolist()):
        result = attacks[0](net, inputs, labels, delta=delta, norm=norm, seed=seed, clean=pairs.clean)
        pair = pairs.factors(result)
        rows.append(
            {
                **{"attack": result.attack, "norm": result.norm, "delta": delta, "n": pair.shape[1]},
                "log_kappa_change": _median(pair[1, :, -1] - pair[0, :, -1]),
                **{name: _accuracy(*detector, pair, folds, seed) for name, detector in chosen.items()},
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Pairs:
    """Clean points, to be paired with their adversarial points."""

    net: Adapter
    labels: torch.Tensor
    clean: Outputs
    definition: Definition
    successful: bool

    def factors(self, result: AttackResult) -> np.ndarray:
        """Factors of κ at the clean and adversarial points of the pairs, shape (2, n, 4)."""
        usable = to_numpy(result.within_budget) & (result.status != "failed")
        if self.successful:
            predicted = self.clean.logits.argmax(dim=1).cpu()
            usable &= to_numpy(result.success) & to_numpy(predicted == self.labels.cpu())
        points = (self.clean, result.outputs)
        return np.stack([factors(self.net, outputs, self.definition)[usable] for outputs in points])


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _accuracy(detector: Any, columns: Sequence[str], pair: np.ndarray, folds: int, seed: int) -> float:
    # `pair`: clean and adversarial factors, shape (2, n, 4); both points of a pair go into the same fold
    n = pair.shape[1]
    if n < folds:
        return float("nan")
    X = pair.reshape(2 * n, -1)[:, [COLUMNS.index(c) for c in columns]]
    y = np.repeat([0, 1], n)
    split = KFold(folds, shuffle=True, random_state=seed).split(np.arange(n))
    both = [(np.r_[train, train + n], np.r_[test, test + n]) for train, test in split]
    return float(cross_val_score(detector, X, y, cv=both, scoring="balanced_accuracy").mean())
