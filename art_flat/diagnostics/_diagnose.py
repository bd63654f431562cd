"""`diagnose`: all checks of a run, returned as named findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from .._utils.arrays import to_numpy
from .._utils.formatting import counted, percent, percent_of
from .._utils.validation import check_inputs, check_labels, unique_keys
from ..adapters import Adapter, adapt
from ..errors import InputError
from . import gradient_masking, preconditions, sanity
from .attack_access import no_white_box_attack
from .finding import MANY, SEVERITIES, Findings, Run, softmaxed, unstable
from .finding import Finding as Finding
from .finding import Severity as Severity
from .probes import batch_dependence
from .zero_gradients import zero_gradients

if TYPE_CHECKING:
    from ..records import Records

_CHECKS = (
    no_white_box_attack,
    preconditions.undefined_outputs,
    preconditions.models_asked,
    preconditions.wrong_labels,
    preconditions.suspicious_range,
    preconditions.radius_beyond_data,
    preconditions.other_losses,
    gradient_masking.vanishing_gradients,
    gradient_masking.stronger_without_gradients,
    gradient_masking.one_step_beats_many,
    gradient_masking.larger_radius_weaker,
    sanity.unstable_losses,
    sanity.random_models,
    sanity.probabilities,
    sanity.suspicious_radii,
    sanity.step_sizes,
    sanity.suspicious_tolerances,
    sanity.outside,
    sanity.outside_range,
    sanity.bounds,
    sanity.not_run,
    sanity.certificates_skipped,
    sanity.certificates_limited,
    sanity.flat_but_wrong,
)
_LOOKED_AT = 32
"""Number of samples on which predictions are repeated."""


def diagnose(
    results: Records,
    nets: Mapping[str, Any] | None = None,
    x: Any = None,
    y: Any = None,
    *,
    sweeps: Mapping[str, pd.DataFrame] | None = None,
) -> Findings:
    """All findings about a run, the most severe first.

    Each finding, its severity, and when it fires:

    - `no-white-box-attack` (error): a defence without gradient kept every white-box attack from running
    - `vanishing-gradients` (warning): 10 % of the clean losses have gradients that underflow float32
    - `zero-gradients` (error): 5 % of the input gradients are exactly zero: on some samples before the run where they
      are in float64 too, on all of `x` with `nets`
    - `undefined-outputs` (error): outputs are NaN or infinite at clean or adversarial points
    - `batch-dependent-predictions` (error): logits depend on the other samples of the batch (before the run, with
      `nets`)
    - `wrong-labels` (error): predictions are the labels renumbered, or accuracy is far below chance
    - `suspicious-range` (warning): inputs fill less than 2 % of the clip range
    - `radius-beyond-data` (warning): the ball around a sample holds all the others
    - `other-loss` (info): the classifier's loss has class weights or label smoothing
    - `masked-by-scale` (error): at some head scale, points found at scale 1 fool 10 % more samples than the attack
      run there (needs `sweeps`)
    - `black-box-beats-white-box` (error): a black-box attack or noise fools 5 % that no white-box attack fools
    - `transfer-beats-white-box` (error): points found on another model do so
    - `one-step-beats-many` (error): one gradient step fools 5 % more than five or more
    - `larger-radius-weaker` (warning): an attack's success falls by 5 % at a larger δ
    - `unstable-predictions` (error): equal inputs have different outputs: randomised or stateful (on the probe inputs
      before the run, in records where an attack returned clean points, and with `nets`)
    - `outputs-are-probabilities` (warning): no logit leads by more than 1 although the model is accurate; with `nets`
      also where outputs sum to one (error if they are the logits)
    - `suspicious-radius` (warning): δ is at least half the clip range (L∞), or below half a grey level
    - `step-above-radius` (warning): a step is longer than δ (info if it is the only one)
    - `steps-below-radius` (warning): all steps together are shorter than δ
    - `suspicious-tolerance` (warning): ε is at least log k, the loss of a guess
    - `outside-budget` (warning): points lie outside their ball (error if 90 % do, though the attack got δ); without a
      fixed budget: 90 % lie outside every ball
    - `outside-range` (error): points moved further than the clip range is wide
    - `bound-exceeded` (error): a loss rose by more than the bound at the measured feature shift, or a prediction
      flipped for less than log 2 − ℓ
    - `failed-units` (error): an attack raised an error or returned NaN points
    - `too-few-classes` (info): an attack was skipped because it needs more classes
    - `skipped-attacks` (info): an attack was skipped for another reason
    - `certificates-skipped` (info): Lipschitz constants were not derived, since that is costly by default, or the
      model has no bounds over balls of inputs
    - `certificates-limited` (info): full bounds over balls would have cost more than the attacks
    - `flat-but-wrong` (warning): 10 % have a confidently wrong point flatter than the clean one

    Shares are of the clean-correct samples, except for gradients (all samples). No findings do not prove
    that nothing is wrong.

    Args:
        results: The records of a run.
        nets: Model name → estimator or adapted classifier, for checks that run the model; needs `x` and `y`.
        x: Clean inputs of the run, or only the first ones, shape (n, ...).
        y: Their labels.
        sweeps: Model name → `scale_sweep(...).frame()`.

    Returns:
        The findings; an empty list if there are none.

    Raises:
        InputError: If `nets` is given without `x` and `y`, or these are not the inputs of the run.

    >>> from art_flat.testing import example_results
    >>> [finding.id for finding in diagnose(example_results())]
    ['step-above-radius', 'suspicious-tolerance', 'flat-but-wrong']
    """
    nets = None if nets is None else unique_keys(nets, str, "nets")
    run = Run(results, probed_now=nets or ())
    findings = [finding for check in _CHECKS for finding in check(run)]
    for name, table in (sweeps or {}).items():
        findings += _masked_by_scale(name, table)
    if nets is not None:
        if x is None or y is None:
            raise InputError(
                "checks of `nets` need inputs; pass x and y as well: diagnose(results, nets, x, y)"
            )
        samples = _samples(results, len(x))
        for name, net in nets.items():
            findings += _ask(name, adapt(net), x, y, samples)
    return Findings(sorted(findings, key=lambda f: SEVERITIES.index(f.severity)))


def _samples(results: Records, n: int) -> np.ndarray:
    ids: np.ndarray = results.clean["sample"].drop_duplicates().to_numpy(np.int64)
    if n > len(ids):
        raise InputError(f"`x` has {counted(n, 'sample')}, the run {len(ids)}; pass the inputs of the run")
    return ids[:n]


def _masked_by_scale(name: str, table: pd.DataFrame) -> Iterator[Finding]:
    success = 1 - table["robust_accuracy"] / table["accuracy"]
    gap = table["transfer_success"] - success
    if not (gap >= MANY).any():
        return
    row = table.loc[gap.idxmax()]
    yield Finding(
        "masked-by-scale",
        "error",
        f"{name}, {row['attack']}, head scaled by {row['scale']:g}: the attack fools "
        f"{percent_of(success[gap.idxmax()], round(row['accuracy'] * row['n']), 'clean-correct sample')}, the points "
        f"found at scale 1 {percent(row['transfer_success'])}; "
        f"{percent_of(row['zero_gradients'], int(row['n']), 'input gradient is', 'input gradients are')} exactly zero",
        (),
        "The scale of the head changes no prediction, so it only hides gradients from the attack, and robust "
        "accuracy is meaningless at such a scale. Use an attack whose direction does not underflow, "
        "such as art_flat:PGD.",
    )


def _ask(name: str, net: Adapter, x: Any, y: Any, samples: np.ndarray) -> Iterator[Finding]:
    inputs = check_inputs(
        x, input_shape=net.input_shape, clip_values=net.clip_values, feature_names=net.feature_names
    )
    inputs = inputs.detach().to(net.device, net.dtype)
    labels = check_labels(y, len(inputs), net.nb_classes).to(net.device)
    zero = zero_gradients(net, inputs, labels)
    model_dtype, float64 = (samples[to_numpy(mask)].tolist() for mask in zero)
    yield from preconditions.zero_gradients(name, len(inputs), model_dtype, float64)
    probes = inputs[:_LOOKED_AT]
    first, again = net.outputs(probes).logits.double(), net.outputs(probes).logits.double()
    differs = ~torch.isclose(first, again, rtol=1e-3, atol=1e-3, equal_nan=True).all(dim=1)
    if bool(differs.any()):
        changed = samples[: len(probes)][to_numpy(differs)].tolist()
        yield unstable(name, changed, "two passes over the same inputs gave different logits")
        return
    batches = batch_dependence(net, probes, first)
    if batches is not None:
        dependent = samples[: len(batches.differs)][batches.differs]
        yield from preconditions.batch_dependent(name, len(batches.differs), batches.n_changed, dependent)
    if _on_simplex(to_numpy(first)):
        yield softmaxed(name, "error", "the outputs of its last layer are nonnegative and sum to one")
    elif _on_simplex(_predicted(net, probes)):
        yield softmaxed(name, "warning", "the estimator's predict returns rows that sum to one")


def _predicted(net: Adapter, x: torch.Tensor) -> np.ndarray | None:
    predict = getattr(net.estimator, "predict", None)
    if predict is None or not isinstance(getattr(net.estimator, "model", None), nn.Module):
        return None
    with net.guard():
        return to_numpy(predict(to_numpy(x.float())))


def _on_simplex(rows: np.ndarray | None) -> bool:
    if rows is None or rows.ndim != 2 or rows.shape[1] < 2:
        return False
    return bool((rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-4))


__all__ = ["Finding", "Severity", "diagnose"]
