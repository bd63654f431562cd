"""Attack trajectories: loss and sharpness of each sample at every step of an attack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from .._utils.arrays import to_numpy
from .._utils.formatting import ball_text, counted, norm_sign, number, percent_of
from .._utils.html import html_line, html_table
from .._utils.modes import outside_inference_mode
from .._utils.numbers import check_delta, check_epsilon
from .._utils.validation import check_definition, check_keywords, check_labels, check_norm
from ..adapters import Adapter, adapt
from ..adapters.base import Outputs
from ..attacks import Attack, AttackResult
from ..attacks.suite import load_single_attack
from ..functional.bounds import feature_radius
from ..typing import Definition
from ._inputs import prepared
from ._recorder import _FOREIGN, Recorder, RecordingAdapter
from ._valley import measure_valleys

if TYPE_CHECKING:
    from ..typing import Array

FLAT_EPSILON = 0.1
"""Rise of the loss, in nats, that ends a flat region by default."""

_SUMMARISED = (
    "kappa_clean", "kappa_peak", "kappa_end", "end_over_peak", "end_over_clean", "log_kappa_clean",
    "log_kappa_peak", "log_kappa_end", "peak_step", "flip_step", "valley_steps", "confidence_wrong",
    "ridge_over_bound", "flat_radius_clean", "flat_radius_end", "distance",
)  # fmt: skip


_READ = {
    "kappa_clean": "κ at the clean point (nats)",
    "kappa_peak": "κ at its peak",
    "kappa_end": "κ at the end",
    "flip_step": "step of the flip",
    "confidence_wrong": "confidence where wrong at the end",
    "distance": "distance (clip units)",
}
"""Measures that a notebook shows, with their titles."""


@dataclass(frozen=True, repr=False)
class Trajectories:
    """The result of `trace_attack`, for n samples.

    Attributes:
        result: The result of the attack, the same as without recording.
        steps: One row per sample and step; see `frame`.
        samples: One row per sample; see `valley`.
        definition: Definition of the relative sharpness κ.
        flat_epsilon: Rise of the loss that ends a flat region, nats.
        matching_exact: Whether every row is certain to belong to its sample: each lies nearer to its
            clean sample than half of that sample's distance to any other, and δ is below half the smallest
            distance between two samples. If False, some rows may belong to a neighbour.
        n_foreign: Rows further than 2 δ from every sample, which were left out: probe images, not iterates.
    """

    result: AttackResult
    steps: pd.DataFrame
    samples: pd.DataFrame
    definition: Definition
    flat_epsilon: float
    matching_exact: bool
    n_foreign: int

    def __repr__(self) -> str:
        return (
            f"<Trajectories of {self.result.attack}: {counted(len(self.samples), 'sample')}, "
            f"{counted(len(self.steps), 'step')}, "
            f"success {self.success:.3g}, matching {'exact' if self.matching_exact else 'not exact'}>"
        )

    def _repr_html_(self) -> str:
        right = self.samples["right_clean"]
        n_right, n_hit = int(right.sum()), int((right & self.samples["success"]).sum())
        ball = (
            norm_sign(self.result.norm)
            if self.result.delta is None
            else ball_text(self.result.norm, self.result.delta)
        )
        text = (
            f"{percent_of(self.success, n_right, 'clean-correct sample')} fooled; of these, "
            f"{percent_of(self.uncanny_valley_fraction, n_hit)} end flatter than clean and confidently wrong."
        )
        shown = self.summary().set_index("measure").loc[list(_READ)]
        rows = [
            [title, *(number(shown.loc[m, q]) for q in ("q10", "q50", "q90"))] for m, title in _READ.items()
        ]
        return html_line(text, f"{self.result.attack}, {ball}:") + html_table(
            ["", "10 %", "median", "90 %"], rows
        )

    @property
    def success(self) -> float:
        """Share of clean-correct samples that are misclassified within δ."""
        return _share(self.samples["success"], self.samples["right_clean"])

    @property
    def uncanny_valley_fraction(self) -> float:
        """Share of successful adversarial points that are flatter than their clean point and confidently wrong.

        Among clean-correct samples; NaN if no point is successful. Confidently means a probability
        of at least 0.9.
        """
        hit = self.samples["success"] & self.samples["right_clean"]
        return _share(self.samples["uncanny"], hit)

    def frame(self) -> pd.DataFrame:
        """The recorded measurements, one row per sample and step.

        Step 0 is the clean point, the last step the point that the attack returned. Between them is every pass of
        the sample through the model, candidates that the attack rejected included, from the first one that changed
        a sample of its batch: under gradient ascent from the clean point, step t is the point after t updates.
        Under ascent from a random start, step 1 is that start.

        Returns:
            Columns `sample, step, loss` (nats), `kappa, log_kappa` (nats, in `definition`), `confidence` (max p),
            `label` (predicted), `distance` (to the clean point, in the attack's norm, clip units).
        """
        return self.steps.copy()

    def valley(self) -> pd.DataFrame:
        """The uncanny valley measured, one row per sample.

        The papers give no computable definition; these are art_flat's. A point is *in the valley* if its
        prediction is wrong, its confidence at least 0.9 and its κ below that of the clean point. The *flip* is the
        first step with a wrong prediction. The *ridge* is where the straight line in feature space between the last
        correct and the first wrong point crosses the boundary of the class; on it the top class has p ≤ ½, hence
        κ ≥ ‖W‖_F²‖φ‖²/2 there for every model, and `ridge_height` is never below `ridge_bound` (both with the
        paper's κ). The *flat region* at a point is the ball of features in which the loss of the label predicted
        there is certain to rise by at most `flat_epsilon`.

        Returns:
            Columns `sample, true_label, right_clean, success, n_steps, kappa_clean, kappa_peak, kappa_end` and their
            logarithms, `peak_step, flip_step` (null without a flip), `end_over_peak, end_over_clean` (of κ),
            `confidence_wrong` (confidence at the end where the prediction is wrong, else NaN), `valley_steps` (number
            of steps in the valley), `uncanny` (the end is in the valley), `ridge_height, ridge_bound,
            ridge_over_bound, flat_radius_clean, flat_radius_end` (feature units), `distance`.
        """
        return self.samples.copy()

    def summary(self, quantiles: Sequence[float] = (0.1, 0.5, 0.9)) -> pd.DataFrame:
        """Quantiles of the measures of `valley`, never means: κ is heavy-tailed.

        Over the clean-correct samples; δ, success and the uncanny valley fraction are repeated in every
        row, because the strength of an attack decides how deep into the valley it gets.

        Args:
            quantiles: Quantiles in [0, 1].

        Returns:
            One row per measure: `attack, norm, delta, n, success, uncanny_valley_fraction, measure, n_known` and
            one column per quantile, `q10`, `q50`, …
        """
        chosen = self.samples[self.samples["right_clean"]]
        head = {
            "attack": self.result.attack,
            "norm": self.result.norm,
            "delta": np.nan if self.result.delta is None else self.result.delta,
            "n": len(chosen),
            "success": self.success,
            "uncanny_valley_fraction": self.uncanny_valley_fraction,
        }
        rows = []
        for measure in _SUMMARISED:
            values = chosen[measure].to_numpy(dtype=np.float64, na_value=np.nan)
            values = values[~np.isnan(values)]
            measured = _quantiles(values, quantiles)
            rows.append({**head, "measure": measure, "n_known": len(values), **measured})
        return pd.DataFrame(rows)

    def plot(self, quantity: str = "log_kappa", quantiles: tuple[float, float] = (0.1, 0.9)) -> Any:
        """Median and a band of quantiles of a column of `frame` against the step; see `reporting.plot_trajectories`.

        Args:
            quantity: `"loss"`, `"kappa"`, `"log_kappa"`, `"confidence"` or `"distance"`.
            quantiles: Lower and upper end of the band.

        Returns:
            A matplotlib `Figure`.

        Raises:
            InputError: If there is no such column.
        """
        from ..reporting import plot_trajectories
        from ..reporting._look import wrapped

        figure = plot_trajectories(self.steps, self.samples, quantities=[quantity], quantiles=quantiles)
        norm, delta = self.result.norm, self.result.delta
        cell = norm_sign(norm) if delta is None else ball_text(norm, delta)
        title = f"{self.result.attack}, {cell}, success {self.success:.0%}"
        figure.suptitle(wrapped(figure, title))
        return figure


@check_keywords
@outside_inference_mode
def trace_attack(
    net: Any,
    attack: Attack | str,
    x: Array,
    y: Array,
    *,
    delta: float | None = None,
    norm: Any = None,
    target: Array | None = None,
    seed: int = 0,
    definition: Definition = "paper",
    flat_epsilon: float = FLAT_EPSILON,
) -> Trajectories:
    """Run any attack and record the trajectory of each sample from the attack's own forward passes.

    The attack finds the same points as without recording. No pass is added and no image stored: memory grows by
    six numbers per sample and step. Rows of the attack's batches are matched to the nearest clean sample,
    so an attack may drop, reorder or repeat samples; `matching_exact` is true if all matches are certain. An attack
    object with its own classifier (`as_attack`) cannot be recorded: only its start and end are.

    Args:
        net: An adapted classifier, or an estimator that `adapt` accepts.
        attack: An attack, or its name as accepted by `load_attack`.
        x: Clean inputs, shape (n, ...), inside the clip range; different from each other.
        y: True labels, indices (n,) or one-hot (n, k).
        delta: Radius of the ball in clip units; optional for attacks without a fixed budget.
        norm: Norm of the ball; by default the attack's first one.
        target: Target labels for a targeted attack, indices (n,) or one-hot (n, k).
        seed: Seed for all random number generators.
        definition: Definition of the recorded relative sharpness κ.
        flat_epsilon: Rise of the loss that ends a flat region, nats.

    Returns:
        The trajectories.

    Raises:
        InputError: If an argument is invalid.
        AttackNotUsableError: If the attack cannot run on this classifier, norm or target.

    Source: the uncanny valley as in arXiv 2405.16918; relative sharpness as in arXiv 2510.14231.

    >>> from art_flat.testing import example_classifier
    >>> net, x, y = example_classifier()
    >>> paths = trace_attack(net, "art_flat:PGD(steps=2, random_start=False)", x, y, delta=0.05)
    >>> paths.frame().query("sample == 0")["distance"].round(3).tolist()  # clean, after 1 and 2 updates, the result
    [0.0, 0.05, 0.05, 0.05]
    """
    net, definition, flat_epsilon = adapt(net), check_definition(definition), check_epsilon(flat_epsilon)
    attack = load_single_attack(attack)
    norm = attack.info.norms[0] if norm is None else check_norm(norm)
    delta = None if delta is None else check_delta(delta)
    inputs = prepared(net, x)
    labels = check_labels(y, len(inputs), net.nb_classes).to(net.device)
    clean = net.outputs(inputs)
    fixed = delta if attack.info.budget == "fixed" else None
    reach = None if fixed is None else _FOREIGN * fixed
    recorder = Recorder(net, inputs, labels, clean, norm, reach, definition)
    result = attack(
        RecordingAdapter(net, recorder),
        x,
        labels,
        delta=delta,
        norm=norm,
        target=target,
        seed=seed,
        clean=clean,
    )
    recorder.record_all(result.outputs, torch.as_tensor(result.distance, dtype=torch.float64).to(net.device))
    steps = recorder.frame()
    radii = [_flat_radius(net, outputs, flat_epsilon) for outputs in (clean, result.outputs)]
    height, bound = map(to_numpy, recorder.ridge)
    samples = measure_valleys(
        steps, to_numpy(labels), to_numpy(result.success), (height, bound), (radii[0], radii[1])
    )
    exact = bool(recorder.sure) and (fixed is None or fixed < recorder.matcher.smallest_half)
    return Trajectories(result, steps, samples, definition, flat_epsilon, exact, recorder.foreign)


def _flat_radius(net: Adapter, outputs: Outputs, epsilon: float) -> np.ndarray:
    predicted = outputs.logits.argmax(dim=1)
    return to_numpy(feature_radius(*outputs, net.head.weight, predicted, epsilon=epsilon))


def _quantiles(values: np.ndarray, quantiles: Sequence[float]) -> dict[str, float]:
    return {
        f"q{100 * q:g}": float(np.quantile(values, q)) if len(values) else float("nan") for q in quantiles
    }


def _share(hit: pd.Series[bool], among: pd.Series[bool]) -> float:
    chosen = hit[among]
    return float(chosen.mean()) if len(chosen) else float("nan")
