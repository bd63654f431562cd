"""Head scaling: how a larger last layer hides adversarial points without removing any."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .. import functional as F
from .._utils.arrays import to_numpy
from .._utils.formatting import ball_text, number, percent
from .._utils.html import html_line, html_table
from .._utils.modes import outside_inference_mode
from .._utils.numbers import check_number, several
from .._utils.validation import check_definition, check_keywords, check_labels
from ..adapters import Adapter, adapt
from ..adapters._graph_outputs import outputs_with_graph
from ..adapters.base import Head, Outputs
from ..attacks import Attack, AttackResult
from ..attacks.suite import load_single_attack
from ..diagnostics.zero_gradients import zero_gradients
from ..errors import InputError
from ..typing import Definition
from ._inputs import prepared
from ._view import View

if TYPE_CHECKING:
    from ..typing import Array

DEFAULT_SCALES = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 50.0, 100.0)
_QUANTILES = (0.1, 0.5, 0.9)
_SHOWN = ("log_kappa_clean", "log_kappa_adv", "loss_increase", "loss_increase_transfer")


class ScaledHead(View):
    """An adapted classifier with the head s·W, s·b: the same predictions, other losses; the model is not changed.

    Args:
        net: The adapted classifier.
        scale: s > 0.

    Raises:
        InputError: If `scale` is not positive.
    """

    def __init__(self, net: Adapter, scale: float) -> None:
        super().__init__(net)
        self.scale = check_number(scale, "scale", "no unit", above=0.0)

    @property
    def head(self) -> Head:
        """The scaled head."""
        head = self.net.head
        return Head(head.weight * self.scale, head.bias * self.scale, head.name, head.scale * self.scale)

    def forward(self, x: Tensor) -> Outputs:
        """Scaled logits and the same features; see `Adapter.forward`."""
        return self.scaled(self.net.forward(x))

    def scaled(self, outputs: Outputs) -> Outputs:
        """The outputs of the scaled net from those of the unscaled one."""
        return Outputs(outputs.logits * self.scale, outputs.features)

    def as_module(self, *, unit_range: bool = False, estimate_gradients: bool = False) -> nn.Module:
        """The scaled net as a module; see `Adapter.as_module`."""
        module = self.net.as_module(unit_range=unit_range, estimate_gradients=estimate_gradients)
        return _Scaled(module, self.scale)

    def identity(self) -> dict[str, str]:
        """The identity of the scaled model; see `Adapter.identity`."""
        identity = self.net.identity()
        return {**identity, "sha256": f"{identity['sha256']}*{self.scale!r}"}


class _Scaled(nn.Module):
    def __init__(self, module: nn.Module, scale: float) -> None:
        super().__init__()
        self.module, self.scale = module, scale
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.module(x) * self.scale
        return logits

    def outputs(self, x: Tensor) -> Outputs:
        logits, features = outputs_with_graph(self.module, x)
        return Outputs(logits * self.scale, features)

    def train(self, mode: bool = True) -> _Scaled:
        return self


@dataclass(frozen=True, repr=False)
class ScaleSweep:
    """The result of `scale_sweep`.

    Attributes:
        table: One row per scale; see `frame`.
        samples: One row per scale and sample: `scale, sample, right_clean, success, transfer, log_kappa_clean,
            log_kappa_adv`, `loss_increase, loss_increase_transfer` (nats), `zero_gradient, zero_gradient_float64`.
        definition: Definition of the relative sharpness κ.
    """

    table: pd.DataFrame
    samples: pd.DataFrame
    definition: Definition

    def __repr__(self) -> str:
        row = self.table.iloc[-1]
        return (
            f"<ScaleSweep of {row['attack']}: robust accuracy {row['robust_accuracy']:.3g} at scale "
            f"{row['scale']:g}, transfer success {row['transfer_success']:.3g}>"
        )

    def _repr_html_(self) -> str:
        row = self.table.iloc[0]
        n, n_right = int(row["n"]), round(row["accuracy"] * row["n"])
        titles = ["scale of the head", f"robust accuracy, of {n}", f"fooled by points of scale 1, of {n_right}",
                  f"zero gradients, of {n}", "median log κ, clean"]  # fmt: skip
        rows = [
            [f"{r['scale']:g}", *(percent(r[c]) for c in ("robust_accuracy", "transfer_success", "zero_gradients")),
             number(r["log_kappa_clean_q50"])]
            for r in self.table.to_dict("records")
        ]  # fmt: skip
        text = "predictions do not depend on the scale; robust accuracy that rises while the points of scale 1 still "
        ball = ball_text(str(row["norm"]), float(row["delta"]))
        return html_line(
            text + "fool the model is gradient masking.", f"{row['attack']}, {ball}:"
        ) + html_table(titles, rows)

    def frame(self) -> pd.DataFrame:
        """One row per scale.

        Predictions do not depend on the scale, so neither does accuracy, nor which points are adversarial. Robust
        accuracy that rises with the scale while `transfer_success` stays is gradient masking: the attack no longer
        finds the points that are still there. κ is heavy-tailed, and scaling up lowers its median while its mean
        may rise; log κ is the column to plot, because κ itself underflows.

        Returns:
            Columns `attack, norm, delta, scale, n, accuracy, robust_accuracy` (under the attack run at this scale),
            `transfer_success` (share of clean-correct samples that the points found at scale 1 fool here),
            `zero_gradients` (share of clean points whose input gradient is exactly zero in the model's dtype),
            `zero_gradients_float64, kappa_mean` (clean), and `_q10, _q50, _q90` each of `log_kappa_clean,
            log_kappa_adv, loss_increase, loss_increase_transfer` (nats; `transfer`: of the points found at scale 1).
        """
        return self.table.copy()

    def plot(self) -> Any:
        """Robust accuracy, transfer success and zero gradients, and quantiles of log κ, against the scale.

        Returns:
            A matplotlib `Figure`.
        """
        from ..reporting import plot_scale_sweep

        return plot_scale_sweep(self.table)


@check_keywords
@outside_inference_mode
def scale_sweep(
    net: Any,
    attack: Attack | str,
    x: Array,
    y: Array,
    *,
    delta: float,
    norm: Any = None,
    scales: Iterable[float] = DEFAULT_SCALES,
    seed: int = 0,
    definition: Definition = "paper",
) -> ScaleSweep:
    """Multiply the last layer, weights and bias, by s and attack the classifier again at every s.

    Args:
        net: An adapted classifier, or an estimator that `adapt` accepts; it is never changed.
        attack: An attack, or its name as accepted by `load_attack`. `art_flat:PGD` follows a direction that does
            not underflow and is not affected by scaling; attacks of the libraries are.
        x: Clean inputs, shape (n, ...), inside the clip range.
        y: True labels, indices (n,) or one-hot (n, k).
        delta: Radius of the ball in clip units.
        norm: Norm of the ball; by default the attack's first one.
        scales: The factors s > 0.
        seed: Seed for all random number generators, the same at every scale.
        definition: Definition of the relative sharpness κ.

    Returns:
        The sweep.

    Raises:
        InputError: If an argument is invalid.
        AttackNotUsableError: If the attack cannot run on this classifier or norm.

    Source: arXiv 2510.14231, scaling the last layer.

    >>> from art_flat.testing import example_classifier
    >>> net, x, y = example_classifier()
    >>> sweep = scale_sweep(net, "art_flat:PGD(steps=2)", x, y, delta=0.3, scales=[1, 10])
    >>> sweep.frame()["robust_accuracy"].tolist()  # this attack is not affected by the scale
    [0.5, 0.5]
    """
    net, definition = adapt(net), check_definition(definition)
    attack = load_single_attack(attack)
    factors = sorted({check_number(s, "scales", "no unit", above=0.0) for s in several(scales)})
    if not factors:
        raise InputError("`scales` is empty; pass at least one factor, such as scales=[1, 10, 100]")
    inputs = prepared(net, x)
    labels = check_labels(y, len(inputs), net.nb_classes).to(net.device)
    clean = net.outputs(inputs)

    def attacked(view: ScaledHead) -> AttackResult:
        return attack(view, inputs, labels, delta=delta, norm=norm, seed=seed, clean=view.scaled(clean))

    unscaled_result = attacked(ScaledHead(net, 1.0))
    rows, samples = [], []
    for factor in factors:
        view = ScaledHead(net, factor)
        result = unscaled_result if factor == 1 else attacked(view)
        part = _sample_rows(view, inputs, labels, clean, result, unscaled_result, definition)
        head = {"attack": attack.name, "norm": result.norm, "delta": result.delta, "scale": factor}
        rows.append({**head, **_reduced(part)})
        part.insert(0, "scale", factor)
        samples.append(part)
    return ScaleSweep(pd.DataFrame(rows), pd.concat(samples, ignore_index=True), definition)


def _sample_rows(
    view: ScaledHead,
    x: Tensor,
    y: Tensor,
    clean: Outputs,
    result: AttackResult,
    unscaled_result: AttackResult,
    definition: Definition,
) -> pd.DataFrame:
    weight = view.head.weight.double()

    def log_kappa(outputs: Outputs) -> Tensor:
        z, phi = outputs.logits.double(), outputs.features.double()
        return F.log_relative_sharpness(z, phi, weight, definition=definition)

    clean, transferred = view.scaled(clean), view.scaled(unscaled_result.outputs)
    zero = zero_gradients(view, x, y)
    inside = torch.as_tensor(unscaled_result.within_budget).to(y.device)
    columns = {
        "sample": torch.arange(len(y)),
        "right_clean": clean.logits.argmax(dim=1) == y,
        "success": torch.as_tensor(result.success),
        "transfer": (transferred.logits.argmax(dim=1) != y) & inside,
        "log_kappa_clean": log_kappa(clean),
        "log_kappa_adv": log_kappa(result.outputs),
        "loss_increase": F.loss_change(clean.logits, result.outputs.logits, y),
        "loss_increase_transfer": F.loss_change(clean.logits, transferred.logits, y),
        "zero_gradient": zero.own,
        "zero_gradient_float64": zero.float64,
    }
    return pd.DataFrame({name: to_numpy(column) for name, column in columns.items()})


def _reduced(part: pd.DataFrame) -> dict[str, Any]:
    right = part["right_clean"]
    quantiles = {
        f"{column}_q{100 * q:g}": float(np.nanquantile(part[column], q))
        for column in _SHOWN
        for q in _QUANTILES
    }
    return {
        "n": len(part),
        "accuracy": float(right.mean()),
        "robust_accuracy": float((right & ~part["success"]).mean()),
        "transfer_success": float(part["transfer"][right].mean()) if right.any() else float("nan"),
        "zero_gradients": float(part["zero_gradient"].mean()),
        "zero_gradients_float64": float(part["zero_gradient_float64"].mean()),
        "kappa_mean": float(np.exp(part["log_kappa_clean"]).mean()),
        **quantiles,
    }
