"""The uncanny valley of each sample, measured from the recorded steps of an attack."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..records import CONFIDENT


def measure_valleys(
    steps: pd.DataFrame,
    labels: np.ndarray,
    success: np.ndarray,
    ridge: tuple[np.ndarray, np.ndarray],
    flat_radii: tuple[np.ndarray, np.ndarray],
) -> pd.DataFrame:
    """Return the table that `Trajectories.valley` describes.

    Args:
        steps: One row per sample and step, sorted by both.
        labels: True labels, shape (n,).
        success: Whether the attack reached its goal, bool (n,).
        ridge: κ where each path first crosses the boundary of its class, and its lower bound; (n,) each, NaN
            where no boundary is crossed.
        flat_radii: Radius of the flat region at the clean and at the final point, (n,) each.

    Returns:
        One row per sample.
    """
    first, last = steps.groupby("sample").first(), steps.groupby("sample").last()
    height, bound = ridge
    return pd.DataFrame(
        {
            "sample": np.arange(len(labels)),
            "true_label": labels,
            "right_clean": first["label"].to_numpy() == labels,
            "success": success,
            "n_steps": steps.groupby("sample").size().to_numpy(),
            **_kappa_columns(steps, first, last),
            **_misclassification_columns(steps, first, last, labels),
            "ridge_height": height,
            "ridge_bound": bound,
            "ridge_over_bound": height / bound,
            "flat_radius_clean": flat_radii[0],
            "flat_radius_end": flat_radii[1],
            "distance": last["distance"].to_numpy(),
        }
    )[list(_COLUMNS)].astype({"flip_step": "Int64"})


_COLUMNS = (
    "sample", "true_label", "right_clean", "success", "n_steps", "kappa_clean", "kappa_peak", "kappa_end",
    "log_kappa_clean", "log_kappa_peak", "log_kappa_end", "peak_step", "flip_step", "end_over_peak",
    "end_over_clean", "confidence_wrong", "valley_steps", "uncanny", "ridge_height", "ridge_bound",
    "ridge_over_bound", "flat_radius_clean", "flat_radius_end", "distance",
)  # fmt: skip


def _kappa_columns(
    steps: pd.DataFrame, first: pd.DataFrame, last: pd.DataFrame
) -> dict[str, np.ndarray | pd.Series]:
    """κ at the clean point, at its peak and at the end."""
    comparable = steps["log_kappa"].fillna(-np.inf)
    peak = steps.loc[comparable.groupby(steps["sample"]).idxmax()]
    clean, top, end = (rows["log_kappa"].to_numpy() for rows in (first, peak, last))
    logs = {"clean": clean, "peak": top, "end": end}
    return {
        **{f"kappa_{point}": np.exp(value) for point, value in logs.items()},
        **{f"log_kappa_{point}": value for point, value in logs.items()},
        "peak_step": peak["step"].to_numpy(),
        "end_over_peak": np.exp(end - top),
        "end_over_clean": np.exp(end - clean),
    }


def _misclassification_columns(
    steps: pd.DataFrame, first: pd.DataFrame, last: pd.DataFrame, labels: np.ndarray
) -> dict[str, np.ndarray | pd.Series]:
    """When the prediction flips, and how long and how confidently the path stays in the valley."""
    sample = steps["sample"]
    wrong = _misclassified(steps, labels[sample])
    flips = steps[wrong].groupby("sample")["step"].min().reindex(first.index).astype("Int64")
    flatter = steps["log_kappa"].to_numpy() < first["log_kappa"].to_numpy()[sample]
    in_valley = (wrong & (steps["confidence"] >= CONFIDENT) & flatter).groupby(sample)
    return {
        "flip_step": flips.to_numpy(dtype=object, na_value=None),
        "confidence_wrong": np.where(_misclassified(last, labels), last["confidence"], np.nan),
        "valley_steps": in_valley.sum().to_numpy(),
        "uncanny": in_valley.last().to_numpy(),
    }


def _misclassified(rows: pd.DataFrame, labels: np.ndarray) -> pd.Series:
    """Whether the predicted label is defined and differs from the true one."""
    return (rows["label"] != labels) & (rows["label"] >= 0)
