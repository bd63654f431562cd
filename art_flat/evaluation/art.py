"""`FlatnessEvaluation`: an evaluation in the interface of `art.evaluations`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from art.evaluations.evaluation import Evaluation

from .._utils.formatting import norm_sign
from .._utils.numbers import check_epsilons, check_radii
from .._utils.validation import check_keywords, check_norm
from ..adapters import Adapter, adapt
from ..errors import InputError
from ..records import ALL_ATTACKS
from ._evaluate import DEFAULT_EPSILONS, evaluate
from .results import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..typing import Array, Norm


class FlatnessEvaluation(Evaluation):  # type: ignore[misc]  # ART has no types
    """The security curve and the (δ, ε) robustness surface of a classifier, from one run.

    It replaces ART's `SecurityCurve`: the same `evaluate(classifier, x, y)`, the same return value,
    `plot()` and `detected_obfuscating_gradients`. Its eps is δ (`deltas`) here; ε is the tolerated loss
    change. Everything else is read from `results`.

    Args:
        deltas: Radii in clip units; an integer m stands for m equal steps up to the width of the clip range.
        epsilons: Tolerated loss changes of plots and tables by default, nats.
        norm: Norm of the ball.
        check_gradients: Also attack at a radius that contains the whole clip range, for
            `detected_obfuscating_gradients`.

    Attributes:
        results: The `Results` of the last call of `evaluate`, or None.
        delta_list: Radii evaluated, in order.
        accuracy_adv_list: Robust accuracy at each, over all attacks.
        accuracy: Accuracy at the clean points, or None.

    Raises:
        InputError: If there is no radius, or a number is out of range.

    >>> import numpy as np, torch
    >>> from art_flat.models import as_classifier
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.eye_(model.weight)
    >>> classifier = as_classifier(model, input_shape=(2,), nb_classes=2)
    >>> curve = FlatnessEvaluation([0.05, 0.2], epsilons=[0.1, 0.3])
    >>> curve.evaluate(classifier, np.array([[0.6, 0.4], [0.9, 0.1]]), np.array([0, 0]))
    ([0.05, 0.2], [1.0, 0.5], 1.0)
    >>> curve.surface()
    epsilon  0.1  0.3
    delta
    0.05     1.0  1.0
    0.20     0.0  1.0
    """

    @check_keywords
    def __init__(
        self,
        deltas: int | float | Sequence[float],
        *,
        epsilons: Sequence[float] = DEFAULT_EPSILONS,
        norm: Norm = "Linf",
        check_gradients: bool = True,
    ) -> None:
        self.norm = check_norm(norm)
        self.epsilons = list(check_epsilons(epsilons))
        self.check_gradients = check_gradients
        self.deltas = _check_deltas(deltas)
        self.results: Results | None = None
        self.delta_list: list[float] = []
        self.accuracy_adv_list: list[float] = []
        self.accuracy: float | None = None
        self._full: float | None = None

    @check_keywords
    def evaluate(  # type: ignore[override]
        self, classifier: Any, x: Array, y: Array, *, attacks: Any = "art_flat:APGD", **options: Any
    ) -> tuple[list[float], list[float], float]:
        """Attack the classifier at every radius and keep the records in `results`.

        Args:
            classifier: An ART classifier or an adapter.
            x: Clean inputs, (n, ...).
            y: True labels, (n,) or one-hot (n, k).
            attacks: One or several names, suites, and attacks of art_flat, ART or torchattacks; the worst case
                over them counts.
            **options: Further arguments of `art_flat.evaluate`: `seed`, `out`, `lipschitz`, `progress`, ...

        Returns:
            Radii, robust accuracy at each (NaN where every attack failed; see `results.failures()`), and clean
            accuracy.

        Raises:
            InputError: If an argument is invalid, or the classifier has no clip range.
        """
        net = adapt(classifier)
        self.results, self._full, self.accuracy = None, None, None
        self.accuracy_adv_list, self.delta_list = [], []
        radii = self._radii(net)
        full = _whole_range(net, self.norm) if self.check_gradients else None
        every = radii if full is None else sorted({*radii, full})
        self.results = evaluate(
            net, x, y, attacks=attacks, deltas={self.norm: every}, epsilons=self.epsilons, **options
        )
        self._full, self.delta_list = full, radii
        worst = self._worst()
        self.accuracy_adv_list = [float(a) for a in worst.loc[radii, "robust_accuracy"]]
        clean = self.results.clean
        self.accuracy = float(np.average(clean["pred"] == clean["label"], weights=clean["weight"]))
        return self.delta_list, self.accuracy_adv_list, self.accuracy

    @check_keywords
    def surface(self, epsilons: Sequence[float] | None = None, *, certified: bool = False) -> pd.DataFrame:
        """Share of samples whose loss rises by at most ε in the ball of radius δ; no model is run.

        Args:
            epsilons: Tolerated loss changes, nats; those of the constructor if None.
            certified: Return the certified shares, a lower bound, instead of the empirical ones, an upper bound.

        Returns:
            Shares in [0, 1], one row per δ and one column per ε; NaN where nothing was evaluated or certified.

        Raises:
            InputError: If nothing has been evaluated yet, or an ε is negative.
        """
        levels = self.epsilons if epsilons is None else check_epsilons(epsilons)
        word = "certified" if certified else "loss_change_robustness"
        worst = self._worst(levels).loc[self.delta_list]
        columns = {e: worst[f"{word}@{e:g}"] for e in levels}
        return pd.DataFrame(columns).rename_axis(index="delta", columns="epsilon")

    @property
    def eps_list(self) -> list[float]:
        """The radii, under their name in `SecurityCurve`."""
        return self.delta_list

    @property
    def detected_obfuscating_gradients(self) -> bool:
        """Whether more samples than by chance resist attacks that may use the whole clip range.

        No classifier can, unless it predicts one class only; so the attacks were misled, as by masked gradients.

        Raises:
            InputError: If nothing has been evaluated yet, or `check_gradients` is False.
        """
        worst = self._worst()
        if self._full is None:
            raise InputError("gradients were not checked; pass check_gradients=True and evaluate again")
        assert self.results is not None
        chance = 1 / int(self.results.models["nb_classes"].iloc[0])
        return bool(worst.loc[self._full, "robust_accuracy"] > chance)

    def plot(self) -> Figure:
        """Draw the security curve and the surface side by side, and show them where there is a screen.

        Returns:
            The figure, with two axes and a colour bar.

        Raises:
            InputError: If nothing has been evaluated yet.
        """
        from matplotlib import pyplot as plt

        shares = self.surface()
        figure: Figure
        figure, (curve, surface) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
        curve.axhline(self.accuracy, linestyle="--", color="grey", label="accuracy, clean")
        curve.plot(self.delta_list, self.accuracy_adv_list, "k-o", label="robust accuracy")
        for e in self.epsilons:
            curve.plot(self.delta_list, shares[e], marker=".", label=f"Δℓ ≤ {e:g} nats")
        curve.set(
            xlabel=f"δ ({norm_sign(self.norm)}, clip units)", ylabel="share of samples", ylim=(-0.02, 1.05)
        )
        curve.set_title(self._verdict())
        curve.legend(fontsize="small")

        positive = [e for e in self.epsilons if e > 0] or [1.0]
        edges = np.geomspace(positive[0] / 10, positive[-1] * 10, 61)
        fine = self.surface([float(e) for e in np.sqrt(edges[1:] * edges[:-1])])
        columns = np.arange(len(fine) + 1) - 0.5
        mesh = surface.pcolormesh(columns, edges, fine.to_numpy().T, vmin=0, vmax=1, cmap="viridis")
        surface.set_yscale("log")
        surface.set_xticks(range(len(fine)), [f"{d:.3g}" for d in fine.index])
        surface.set(
            xlabel=f"δ ({norm_sign(self.norm)}, clip units)", ylabel="ε (nats)", title="(δ, ε) robustness"
        )
        figure.colorbar(mesh, ax=surface, label="share with Δℓ ≤ ε (upper estimate)")
        if plt.get_backend().lower() != "agg":
            plt.show()
        return figure

    def __repr__(self) -> str:
        return (
            f"{type(self).__module__}.{type(self).__name__}(deltas={self.deltas}, epsilons={self.epsilons}, "
            f"norm={self.norm!r})"
        )

    def _radii(self, net: Adapter) -> list[float]:
        if not isinstance(self.deltas, int):
            return self.deltas
        width = float(np.max(_width(net)))
        return [width * (i / self.deltas) for i in range(1, self.deltas + 1)]

    def _worst(self, epsilons: Sequence[float] | None = None) -> pd.DataFrame:
        """Rows of the summary over all attacks, by δ."""
        if self.results is None:
            raise InputError("nothing has been evaluated yet; call evaluate(classifier, x, y) first")
        summary = self.results.summary(epsilons)
        several = summary["attack"] == ALL_ATTACKS
        return (summary[several] if several.any() else summary).set_index("delta")

    def _verdict(self) -> str:
        if self._full is None:
            return "Security curve"
        detected = self.detected_obfuscating_gradients
        return "Gradients may be obfuscated" if detected else "No sign of obfuscated gradients"


def _check_deltas(deltas: Any) -> int | list[float]:
    if isinstance(deltas, (int, np.integer)) and not isinstance(deltas, bool):
        if deltas < 1:
            raise InputError(f"`deltas` as a number of steps must be at least 1, got {deltas}")
        return int(deltas)
    return sorted(check_radii(deltas))


def _width(net: Adapter) -> np.ndarray:
    """Width of the clip range, one number per element of an input."""
    if net.clip_values is None:
        raise InputError("the classifier has no clip_values; build it with clip_values=(low, high)")
    low, high = (np.asarray(v, dtype=np.float64) for v in net.clip_values)
    return np.broadcast_to(high - low, net.input_shape)


def _whole_range(net: Adapter, norm: Norm) -> float:
    """The radius at which a ball around any input contains the whole clip range."""
    order = {"Linf": np.inf, "L2": 2.0, "L1": 1.0, "L0": 0.0}[norm]
    return float(np.linalg.norm(_width(net).reshape(-1), ord=order))
