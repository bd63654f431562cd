"""Step sizes, radii, checks and notes shared by the attack specifications."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from art_flat.adapters.base import Adapter
from art_flat.attacks import Problem
from art_flat.attacks.view import Window
from art_flat.typing import Norm

from ._compat import installed

Params = Mapping[str, Any]
Check = Callable[[Params, Adapter, Norm], str | None]

ANY: tuple[Norm, ...] = ("L2", "Linf", "L1", "L0")
"""Norms of attacks without a ball: their points are measured in every norm."""

FIRST_FLIP = (
    "works only on clean-correct points and does not keep its best iterate: for a point it cannot "
    "flip it returns the clean point plus start noise"
)
FLEES = "ignores y and leaves the predicted class; misclassified points are left unchanged"
LAST = "returns its last iterate"
ONE_BATCH = "the result for a point depends on the other points of its batch"
ONE_VALUE = "in L1 a step moves one value, which stalls once that value is at the edge of the range"
SCALED = "default step 2.5 δ/max_iter"
UNSEEDED = "draws from generators that ART does not seed; here they follow the seed of the call"
UNIT = "lengths among its parameters are in units of a range of [0, 1]"
UNTARGETED = "untargeted unless `target` is given, unlike ART's default"
WRONG_CLASS = "reads y as a target; untargeted it is given the most likely wrong class"


def scaled_step(delta: float, params: Params) -> float:
    """2.5 δ/max_iter, so that the steps can cross the whole ball."""
    return 2.5 * delta / max(1, int(params["max_iter"]))


def double_step(delta: float, params: Params) -> float:
    """2 δ, the first step as published; these attacks only ever halve it."""
    return 2 * delta


def tenth_step(delta: float, params: Params) -> float:
    """δ/10: ten sizes are tried."""
    return delta / 10


def pixels(problem: Problem) -> int:
    """Number of pixels that may change if δ values may change; a pixel has one value per channel."""
    return int((problem.delta or 0) // problem.net.input_shape[0])


def grey_levels(problem: Problem) -> float:
    """δ in steps of 1/255 of the range, one less because ART cuts off fractions afterwards."""
    return 255 * (problem.delta or 0) / Window.from_problem(problem).size - 1


def needs_dlr(params: Params, net: Adapter, norm: Norm) -> str | None:
    """Require the DLR loss in L∞ because of a defect of ACG and ReACG."""
    if norm == "Linf" and params["loss_type"] != "difference_logits_ratio":
        return (
            "steps along the raw gradient in Linf with cross-entropy (the sign is computed and then not used) and "
            'is nearly ineffective; use L2, loss_type="difference_logits_ratio" or art:AutoProjectedGradientDescent'
        )
    return None


def dlr_classes(params: Params, net: Adapter, norm: Norm) -> str | None:
    """Require three classes: the difference of logits ratio uses the third largest logit."""
    if params["loss_type"] == "difference_logits_ratio" and net.nb_classes < 3:
        return f"needs at least 3 classes for difference_logits_ratio, the classifier has {net.nb_classes}"
    return None


def square_fits(params: Params, net: Adapter, norm: Norm) -> str | None:
    """Require that the first square fits: ART draws its position from an empty range on some small images."""
    height, width = net.input_shape[1:]
    side = max(round(math.sqrt(params["p_init"] * height * width)), 1 if norm == "Linf" else 3)
    side += norm == "L2" and side % 2 == 0
    if side >= min(height, width):
        return f"has a first square of {side}×{side} pixels on images of {height}×{width}; lower p_init"
    return None


def dct_fits(params: Params, net: Adapter, norm: Norm) -> str | None:
    """Require square images that SimBA's blocks tile."""
    _, height, width = net.input_shape
    if height != width or (height - params["freq_dim"]) % params["stride"]:
        return (
            f"needs square images with (side − freq_dim) divisible by stride, the images are {height}×{width}"
        )
    return None


def three_channels(params: Params, net: Adapter, norm: Norm) -> str | None:
    """Require colour images."""
    channels = net.input_shape[0]
    return None if channels == 3 else f"needs images of 3 channels, these have {channels}"


def inner_attack(*names: str) -> Check:
    """Require one of the supported attacks inside a universal perturbation."""

    def check(params: Params, net: Adapter, norm: Norm) -> str | None:
        supported = ", ".join(map(repr, names))
        return (
            None
            if params["attacker"] in names
            else f"takes attacker={supported} here, not {params['attacker']!r}"
        )

    return check


def cma_installed(params: Params, net: Adapter, norm: Norm) -> str | None:
    """Require the package cma for es=0, which is CMA-ES."""
    if params["es"] == 0 and not installed("cma"):
        return (
            "needs the package cma for es=0 (pip install cma); es=1, differential evolution, does not need it"
        )
    return None
