"""Rows of the four tables from the outputs of models and the results of attacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from .. import functional as F
from .._utils.arrays import to_numpy
from ..adapters import Adapter
from ..adapters.base import Head, Outputs
from ..attacks import AttackResult
from ..records.schema import FLAT_EPSILON, UNDEFINED, UNDEFINED_CLEAN, make_frame
from ..typing import NORMS

_LONGEST_NOTE = 500


def quantities(outputs: Outputs, head: Head, labels: torch.Tensor) -> dict[str, np.ndarray]:
    """The columns shared by the clean and the adversarial table, in float64.

    Args:
        outputs: Logits (n, k) and features (n, d).
        head: The linear head of the features.
        labels: True labels, int64 (n,).

    Returns:
        Column name → array of shape (n,).
    """
    logits, features = outputs.logits.double(), outputs.features.double()
    weight, labels = head.weight.double(), labels.to(logits.device)
    loss, label = F.cross_entropy(logits, labels), logits.argmax(dim=1)
    columns = {
        "loss": loss,
        "confidence": torch.softmax(logits, dim=1).amax(dim=1),
        "prob_label": (-loss).exp(),
        "margin": F.margin(logits, labels),
        "feature_norm": torch.linalg.vector_norm(features, dim=1),
        "trace": F.hessian_trace(logits, features),
        "log_trace": F.log_hessian_trace(logits, features),
        "kappa_neuronwise": F.relative_sharpness(logits, features, weight, definition="neuronwise"),
        "log_kappa_neuronwise": F.log_relative_sharpness(logits, features, weight, definition="neuronwise"),
        "feature_grad_norm": F.feature_gradient_norm(logits, weight, labels),
        "flat_radius": F.feature_radius(logits, features, weight, label, epsilon=FLAT_EPSILON, kind="lse"),
    }
    undefined = torch.isnan(loss)
    block = torch.stack([c.double() for c in columns.values()]).cpu().numpy()
    return {
        "pred": to_numpy(torch.where(undefined, -1, label)),
        **dict(zip(columns, block, strict=True)),
    }


def model_rows(name: str, net: Adapter, lipschitz: F.LipschitzBound | None = None) -> pd.DataFrame:
    """The row of one model in the `models` table.

    Args:
        name: The model's name.
        net: The adapted model.
        lipschitz: The Lipschitz constant of its features in L2, or None.

    Returns:
        One row.
    """
    low, high = net.clip_values if net.clip_values is not None else (np.nan, np.nan)
    row = {
        "model": name,
        "weights_hash": net.identity()["sha256"],
        "nb_classes": net.nb_classes,
        "nb_features": net.head.weight.shape[1],
        "weight_norm": float(torch.linalg.vector_norm(net.head.weight.double())),
        "clip_low": float(np.min(low)),
        "clip_high": float(np.max(high)),
    }
    if lipschitz is not None:
        row[f"lipschitz_{lipschitz.kind}"] = lipschitz.value
    return make_frame("models", row, 1)


def clean_rows(
    name: str,
    net: Adapter,
    outputs: Outputs,
    labels: torch.Tensor,
    samples: np.ndarray,
    weight: np.ndarray,
) -> pd.DataFrame:
    """The rows of one model in the `clean` table, one per sample."""
    columns = {
        "model": name,
        "sample": samples,
        "label": to_numpy(labels),
        "weight": weight,
        **quantities(outputs, net.head, labels),
    }
    return make_frame("clean", columns, len(samples))


def adversarial_rows(
    net: Adapter,
    labels: torch.Tensor,
    clean: Outputs,
    result: AttackResult,
    outputs: Outputs,
    keys: Mapping[str, Any],
) -> pd.DataFrame:
    """Rows of the `adversarial` table for the result of an attack, scored by `net` (not always the attacked model).

    Args:
        net: The model that scores the points.
        labels: True labels, int64 (n,).
        clean: Logits and features of `net` at the clean points.
        result: The result of the attack.
        outputs: Logits and features of `net` at the adversarial points.
        keys: The key columns and the sample ids.

    Returns:
        n rows. Rows with non-finite points, which have no quantities, and rows where an output of
        the model is undefined have status `"failed"`.
    """
    n = len(labels)
    failed = result.status == "failed"
    measured: dict[str, np.ndarray] = quantities(outputs, net.head, labels)
    logits, features, weight = clean.logits.double(), clean.features.double(), net.head.weight.double()
    shift = torch.linalg.vector_norm(outputs.features.double() - features, dim=1)
    where = labels.to(logits.device)
    measured["feature_shift"] = to_numpy(shift)
    measured["bound_at_shift"] = to_numpy(_bound_at(logits, features, weight, where, shift))
    measured |= {norm.lower(): to_numpy(result.distances[norm]) for norm in NORMS}
    for column, values in measured.items():
        if failed.any():
            measured[column] = np.where(failed, -1 if column == "pred" else np.nan, values)
    errors = _errors(failed, measured["pred"] == -1, to_numpy(F.cross_entropy(logits, where).isnan()))
    columns = {
        **keys,
        **measured,
        "status": np.where(errors == None, result.status, "failed").astype(object),  # noqa: E711
        "error": errors,
        "notes": _notes(result),
        "within_budget": to_numpy(result.within_budget) & ~failed,
        "forwards": result.forwards,
        "backwards": result.backwards,
        "seconds": result.seconds / n,
    }
    return make_frame("adversarial", columns, n)


def _errors(no_point: np.ndarray, undefined: np.ndarray, undefined_clean: np.ndarray) -> np.ndarray:
    """Error message of each point, shape (n,); None for valid points."""
    errors = np.full(len(no_point), None, dtype=object)
    errors[undefined] = UNDEFINED
    errors[undefined_clean] = UNDEFINED_CLEAN
    errors[no_point] = "the attack returned NaN or infinite values"
    return errors


def _notes(result: AttackResult) -> str | None:
    """Warnings and output of a library during its attack, in at most `_LONGEST_NOTE` characters."""
    text = "; ".join(result.warnings)
    return (text if len(text) <= _LONGEST_NOTE else text[: _LONGEST_NOTE - 1] + "…") or None


def _bound_at(
    logits: torch.Tensor,
    features: torch.Tensor,
    weight: torch.Tensor,
    labels: torch.Tensor,
    shift: torch.Tensor,
) -> torch.Tensor:
    is_finite = torch.isfinite(shift)
    bound = F.loss_increase_bound(
        logits, features, weight, labels, radius=shift.where(is_finite, 0.0), kind="best"
    )
    return bound.where(is_finite, torch.nan)


def missing_rows(
    status: str, error: str, keys: Mapping[str, Any], n: int, seconds: float = 0.0
) -> pd.DataFrame:
    """Rows of the `adversarial` table for a failed or skipped unit: keys, status and reason, without numbers."""
    return make_frame(
        "adversarial", {**keys, "status": status, "error": error, "pred": -1, "seconds": seconds / n}, n
    )
