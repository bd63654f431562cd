"""Records measurements of each sample during an attack's own forward passes; stores no images and adds no passes."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import nn

from .. import functional as F
from .._utils.arrays import to_numpy
from ..adapters._graph_outputs import outputs_with_graph
from ..adapters._network import stretch
from ..adapters.base import Adapter, Outputs
from ..functional._logits import squared_row_distances
from ..typing import Definition, Norm
from ._matching import Match, Matcher
from ._view import View

_COLUMNS = ("sample", "loss", "log_kappa", "confidence", "label", "distance")
_FOREIGN = 2.0
"""Rows further than this many δ from every sample are not iterates: some attacks query other images."""
_ROUNDING = 2.0**-22
"""Change of an element, relative to the range or the value, that rescaling in float32 can cause."""


class Ridge(NamedTuple):
    """Where each sample's path first crosses the boundary of its class; NaN for paths that do not."""

    height: torch.Tensor
    """κ of the paper there, nats, float64 (n,)."""
    bound: torch.Tensor
    """‖W‖_F² ‖φ‖²/2 there, the lower bound of κ on a decision boundary, float64 (n,)."""


class Recorder:
    """The measurements recorded for each sample so far.

    Memory grows by six numbers per row; in addition it holds the last logits and features of each sample,
    to find where the path crosses the boundary.

    Args:
        net: The adapted classifier.
        x: Clean samples, shape (n, ...), on the device of `net`.
        y: True labels, int64 (n,).
        clean: Outputs at `x`.
        norm: The norm in which distances are measured.
        reach: Largest possible distance of an iterate, or None.
        definition: Definition of the relative sharpness κ.
    """

    def __init__(
        self,
        net: Adapter,
        x: torch.Tensor,
        y: torch.Tensor,
        clean: Outputs,
        norm: Norm,
        reach: float | None,
        definition: Definition,
    ) -> None:
        low, high = (torch.as_tensor(v, dtype=torch.float64) for v in net.clip_values or (0.0, 1.0))
        self.range = low, high
        self.matcher = Matcher(x, norm, float((high - low).max()))
        self.y, self.reach, self.definition = y, reach, definition
        self.weight = net.head.weight.double()
        self.weight_norm = torch.linalg.vector_norm(self.weight)
        self._distances = squared_row_distances(self.weight) if definition == "neuronwise" else None
        self._blocks: list[torch.Tensor] = []
        self.foreign = 0
        self.sure = torch.ones((), dtype=torch.bool, device=x.device)
        nothing = torch.full((len(y),), torch.nan, dtype=torch.float64, device=x.device)
        self.ridge = Ridge(nothing, nothing.clone())
        self._crossed = torch.zeros(len(y), dtype=torch.bool, device=x.device)
        self._has_moved = torch.zeros_like(self._crossed)
        self._last = Outputs(clean.logits.double().clone(), clean.features.double().clone())
        self.record_all(clean, torch.zeros_like(nothing))

    @torch.no_grad()
    def record_all(self, outputs: Outputs, distance: torch.Tensor) -> None:
        """Record one row for every sample, in order."""
        samples = torch.arange(len(self.y), device=self.y.device)
        self._record(outputs, Match(samples, distance, torch.ones_like(samples, dtype=torch.bool)))

    @torch.no_grad()
    def record_batch(self, points: torch.Tensor, outputs: Outputs) -> None:
        """Record the rows of one forward pass; a batch of unchanged clean points before the first step is step 0.

        Args:
            points: Inputs of the model, in clip units, shape (m, ...).
            outputs: Outputs of the model.
        """
        match = self.matcher(points)
        if self.reach is not None:
            is_iterate = match.distance <= self.reach
            if not bool(is_iterate.all()):
                self.foreign += int((~is_iterate).sum())
                match, outputs = (
                    Match(*(t[is_iterate] for t in match)),
                    Outputs(*(t[is_iterate] for t in outputs)),
                )
                points = points[is_iterate]
        self.sure &= match.sure.all()
        if len(match.samples) and not self._repeats_step_0(points, match.samples):
            self._record(outputs, match)

    def _repeats_step_0(self, points: torch.Tensor, samples: torch.Tensor) -> bool:
        # for the whole batch: a sample with zero gradient stays at its clean point while others move
        clean = self.matcher.x[samples]
        scale = clean.abs().clamp_min(float(self.range[1].max() - self.range[0].min()))
        unchanged = ((points - clean).abs() <= _ROUNDING * scale).flatten(1).all(dim=1)
        repeats = bool((unchanged & ~self._has_moved[samples]).all())
        if not repeats:
            self._has_moved[samples] = True
        return repeats

    def _record(self, outputs: Outputs, match: Match) -> None:
        logits, features = outputs.logits.double(), outputs.features.double()
        labels = self.y[match.samples]
        columns = {
            "sample": match.samples,
            "loss": F.cross_entropy(logits, labels),
            "log_kappa": self._log_kappa(logits, features),
            "confidence": logits.softmax(dim=1).amax(dim=1),
            "label": torch.where(torch.isnan(logits).any(dim=1), -1, logits.argmax(dim=1)),
            "distance": match.distance,
        }
        self._blocks.append(torch.stack([columns[c].double() for c in _COLUMNS]))
        self._follow(logits, features, match.samples, columns["label"] != labels)

    def _log_kappa(self, logits: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        if self.definition == "neuronwise":
            return F.log_relative_sharpness(
                logits, features, self.weight, definition="neuronwise", row_distances=self._distances
            )
        power = 2 if self.definition == "paper" else 1
        value: torch.Tensor = F.log_hessian_trace(logits, features) + power * self.weight_norm.log()
        return value

    def _follow(
        self, logits: torch.Tensor, features: torch.Tensor, samples: torch.Tensor, wrong: torch.Tensor
    ) -> None:
        # If a sample occurs several times, its first row is followed.
        m, n = len(samples), len(self.y)
        first = torch.full((n,), m, device=samples.device).scatter_reduce(
            0, samples, torch.arange(m, device=samples.device), "amin"
        )
        rows = first[first < m]
        rows = rows[~self._crossed[samples[rows]]]
        new = rows[wrong[rows]]
        if len(new):
            self._cross(logits[new], features[new], samples[new])
        ids = samples[rows]
        self._crossed[ids] = wrong[rows]
        self._last.logits[ids], self._last.features[ids] = logits[rows], features[rows]

    def _cross(self, logits: torch.Tensor, features: torch.Tensor, samples: torch.Tensor) -> None:
        # The head is linear: between two points in feature space, the logits lie on a straight line too.
        before, start = self._last.logits[samples], self._last.features[samples]
        label = self.y[samples][:, None]
        lead, later = (z.gather(1, label) - z for z in (before, logits))
        share = lead / (lead - later).clamp_min(torch.finfo(lead.dtype).tiny)
        step = (
            torch.where(later <= 0, share, torch.inf).scatter(1, label, torch.inf).amin(dim=1, keepdim=True)
        )
        right = ((lead >= 0).all(dim=1) & torch.isfinite(step[:, 0]))[:, None]
        step = torch.where(right, step, torch.nan)
        z, phi = torch.lerp(before, logits, step), torch.lerp(start, features, step)
        scale = self.weight_norm.square()
        self.ridge.height[samples] = scale * F.hessian_trace(z, phi)
        self.ridge.bound[samples] = scale * phi.square().sum(dim=1) / 2

    def frame(self) -> pd.DataFrame:
        """One row per sample and step, in the order of samples and steps."""
        block = to_numpy(torch.cat(self._blocks, dim=1))
        frame = pd.DataFrame(dict(zip(_COLUMNS, block, strict=True)))
        frame = frame.astype({"sample": "int64", "label": "int64"})
        frame = frame.sort_values("sample", kind="stable", ignore_index=True)
        frame.insert(1, "step", frame.groupby("sample").cumcount())
        frame.insert(3, "kappa", np.exp(frame["log_kappa"].to_numpy()))
        return frame


class RecordingAdapter(View):
    """An adapter whose modules pass every forward pass to a recorder.

    Args:
        net: The adapter to record.
        recorder: The recorder to notify.
    """

    def __init__(self, net: Adapter, recorder: Recorder) -> None:
        super().__init__(net)
        self.recorder = recorder

    def as_module(self, *, unit_range: bool = False, estimate_gradients: bool = False) -> nn.Module:
        """The adapter's module with recording; see `Adapter.as_module`."""
        module = self.net.as_module(unit_range=unit_range, estimate_gradients=estimate_gradients)
        return _RecordingModule(module, self.net, self.recorder, unit_range)


class _RecordingModule(nn.Module):
    """The same logits; every pass is recorded."""

    def __init__(self, module: nn.Module, net: Adapter, recorder: Recorder, unit_range: bool) -> None:
        super().__init__()
        self.module = module
        self._outside = (net, recorder, recorder.range if unit_range else None)  # not registered, not copied
        self.training = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, k) of a batch; see `Adapter.as_module`."""
        return self.outputs(x).logits

    def outputs(self, x: torch.Tensor) -> Outputs:
        """Logits (n, k) and features (n, d) of a batch."""
        net, recorder, span = self._outside
        points = stretch(x.detach(), span).to(net.device, recorder.matcher.x.dtype)
        if hasattr(self.module, "outputs"):
            outputs = outputs_with_graph(self.module, x)
        else:  # an adapter whose module does not show its features
            outputs = Outputs(self.module(x), net.forward(points).features)
        recorder.record_batch(points, Outputs(*(o.detach() for o in outputs)))
        return outputs

    def train(self, mode: bool = True) -> _RecordingModule:
        """Nothing: the module computes in eval mode."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> _RecordingModule:
        net, recorder, span = self._outside
        return _RecordingModule(copy.deepcopy(self.module, memo), net, recorder, span is not None)
