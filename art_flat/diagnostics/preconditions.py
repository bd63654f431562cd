"""Checks of models, data and labels that affect the results of every attack."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from .._utils.formatting import counted, norm_sign, percent, percent_of, radius_text
from ..records.schema import UNDEFINED_OUTPUTS
from .finding import SHARE, Finding, Run, ids

_LITTLE = 0.02
"""Smallest share of the clip range that inputs should fill."""
_SHIFTED, _RENUMBERED = 0.5, 0.8
"""Shares of the predictions that one shift, or one renumbering, of the labels must explain."""
_BY_CHANCE = 1e-3
"""Probability of such a low accuracy under guessing, below which it is reported."""


def undefined_outputs(run: Run) -> Iterator[Finding]:
    """NaN or infinite outputs, at clean points or at points that attacks found."""
    clean = run.clean[run.clean["loss"].isna()]
    rows = run.rows[run.rows["error"].isin(UNDEFINED_OUTPUTS)]
    for model in run.models.index:
        here, there = clean[clean["model"] == model], rows[rows["model"] == model]
        if here.empty and there.empty:
            continue
        by = ", ".join(map(str, there["attack"].unique()))
        yield Finding(
            "undefined-outputs",
            "error",
            f"{model}: outputs are NaN or infinite at {counted(len(here), 'clean point')} and on "
            f"{counted(len(there), 'row')} of attacks" + (f" ({by})" if by else ""),
            ids([*here["sample"], *there["sample"]]),
            "These samples count as not robust and in n_failed. Look for overflow in half precision, divisions by zero "
            "and logarithms of 0 in the model.",
        )


def zero_gradients(name: str, n: int, own: Iterable[int], wide: Iterable[int]) -> Iterator[Finding]:
    """Input gradients that are exactly zero: an attack that follows them does not move.

    Args:
        name: The model.
        n: Number of probed samples.
        own: Ids of samples with a zero gradient in the model's dtype.
        wide: Ids of samples with a zero gradient in float64 too.

    Yields:
        A finding, if their share is large.
    """
    own, wide = ids(own), ids(wide)
    if len(own) / n < SHARE:
        return
    yield Finding(
        "zero-gradients",
        "error",
        f"{name}: {percent(len(own) / n)} of {n} input gradients of the loss are exactly zero in the model's dtype, "
        f"{percent(len(wide) / n)} in float64",
        own,
        "Where only the model's dtype gives zero, the gradient underflows and the loss is not flat: use "
        "art_flat:PGD. Where float64 does too, the model blocks gradients (rounding, thresholds, detach), and "
        "white-box attacks find nothing whether it is robust or not: use black-box attacks (torchattacks:Square).",
    )


def batch_dependent(name: str, n: int, n_changed: int, samples: Iterable[int]) -> Iterator[Finding]:
    """Logits that depend on the other samples of the batch.

    Args:
        name: The model.
        n: Number of samples that were compared.
        n_changed: Number of predictions that differed.
        samples: Ids of the samples whose logits differed.

    Yields:
        A finding, if there are any.
    """
    dependent = ids(samples)
    if dependent:
        yield Finding(
            "batch-dependent-predictions",
            "error",
            f"{name}: logits depend on the other samples of the batch: in another batch those of "
            f"{len(dependent)} of {counted(n, 'sample differs', 'samples differ')}, and "
            f"{counted(n_changed, 'prediction')}",
            dependent,
            "No sample has a prediction, loss or flatness of its own, so every score depends on shard_size and the "
            "order of the data. Batch norm on the statistics of the batch is the usual cause: call model.eval(), and "
            "use track_running_stats=True.",
        )


def models_asked(run: Run) -> Iterator[Finding]:
    """Findings from the probes of the models before the run."""
    for name, probes in run.probes.items():
        zero, batches = probes.get("zero_gradients"), probes.get("batch_dependent")
        # zeros in the model's dtype alone are found in the records: see `vanishing_gradients`
        if zero is not None and len(zero["float64"]) / probes["n"] >= SHARE:
            yield from zero_gradients(name, probes["n"], zero["own"], zero["float64"])
        if batches is not None:
            yield from batch_dependent(name, batches["n"], batches["n_changed"], batches["samples"])


def other_losses(run: Run) -> Iterator[Finding]:
    """Losses of the classifiers that are not −log p_y."""
    for name, probes in run.probes.items():
        if probes.get("loss_options"):
            yield Finding(
                "other-loss",
                "info",
                f"{name}: the classifier's loss has {', '.join(probes['loss_options'])}, which is not used here",
                (),
                "ℓ = −log p_y everywhere: in loss changes, flatness and certificates. ART's own attack objects follow "
                "the classifier's loss.",
            )


def suspicious_range(run: Run) -> Iterator[Finding]:
    """Inputs that fill only a small part of the clip range."""
    data = run.facts.get("data_asked")
    for model, row in run.models.iterrows():
        low, high = float(row["clip_low"]), float(row["clip_high"])
        if (
            data is None
            or not math.isfinite(high - low)
            or not 0 < data["high"] - data["low"] < _LITTLE * (high - low)
        ):
            continue
        yield Finding(
            "suspicious-range",
            "warning",
            f"{model}: inputs lie between {data['low']:.4g} and {data['high']:.4g} (of "
            f"{counted(data['n'], 'sample')}), the clip "
            f"range is {low:.4g} to {high:.4g}",
            (),
            "Give the classifier the range that the inputs can have, such as clip_values=(0, 1): δ is in its units, "
            "clipping has no effect in a range that is too wide, and single precision loses digits.",
        )


def radius_beyond_data(run: Run) -> Iterator[Finding]:
    """Radii whose ball contains all of the data."""
    diameters: Mapping[str, float] = (run.facts.get("data_asked") or {}).get("diameter") or {}
    for norm, deltas in run.facts["deltas"].items():
        largest = diameters.get(norm, 0.0)
        large = [d for d in deltas if d >= largest > 0]
        if large:
            yield Finding(
                "radius-beyond-data",
                "warning",
                f"{norm_sign(norm)}: the ball of radius δ = {', '.join(map(radius_text, large))} around any input "
                f"contains all others: the largest distance between two of "
                f"{counted(run.facts['data_asked']['n'], 'sample')} "
                f"is {largest:.4g}",
                (),
                "No classifier is robust in such a ball. δ is in units of the inputs as they are given: 8/255 for "
                "inputs in [0, 1], 8 for inputs in [0, 255].",
            )


def wrong_labels(run: Run) -> Iterator[Finding]:
    """Labels that are shifted or renumbered, and accuracies below guessing."""
    for model, part in run.clean.groupby("model", sort=False):
        k, part = int(run.models.loc[model, "nb_classes"]), part[part["pred"] >= 0]
        if part.empty:
            continue
        label, pred = part["label"].to_numpy(np.int64), part["pred"].to_numpy(np.int64)
        right, n = int((label == pred).sum()), len(label)
        cause = _renumbering(label, pred, k) if right / n < 1 / k else None
        if cause is None and _binomial_below(right, n, 1 / k) >= _BY_CHANCE:
            continue
        yield Finding(
            "wrong-labels",
            "error",
            f"{model}: accuracy is {percent_of(right / n, n)} where guessing has {percent(1 / k)}"
            + (f"; {cause}" if cause else ""),
            (),
            "The labels or their order are not those that the model was trained on, or inputs are not prepared as they "
            "were in training; robust accuracy is meaningless then.",
        )


def _renumbering(label: np.ndarray, pred: np.ndarray, k: int) -> str | None:
    """A description of the shift or renumbering of the labels that explains the predictions, or None."""
    shifts = np.bincount((pred - label) % k, minlength=k) / len(label)
    shift = int(shifts.argmax())
    table = pd.crosstab(label, pred)
    best = table.columns[table.to_numpy().argmax(axis=1)]
    is_renumbering = len(set(best)) == len(best) and len(label) >= 5 * len(best)
    explained = float(table.to_numpy().max(axis=1).sum()) / len(label) if is_renumbering else 0.0
    if explained >= _RENUMBERED and (explained > shifts[shift] or k == 2):
        pairs = ", ".join(f"{a} → {b}" for a, b in list(zip(table.index, best, strict=True))[:5])
        return f"{percent(explained)} of the predictions follow from the label by a renumbering ({pairs})"
    if k > 2 and len(label) >= 8 and shifts[shift] >= _SHIFTED:
        return f"{percent(shifts[shift])} of the predictions are the label {shift if shift <= k // 2 else shift - k:+d}"
    return None


def _binomial_below(hits: int, n: int, p: float) -> float:
    """Probability of at most `hits` of n at a probability of p each."""
    logs = [
        math.lgamma(n + 1)
        - math.lgamma(i + 1)
        - math.lgamma(n - i + 1)
        + i * math.log(p)
        + (n - i) * math.log1p(-p)
        for i in range(hits + 1)
    ]
    top = max(logs)
    return min(1.0, math.exp(top) * sum(math.exp(v - top) for v in logs))
