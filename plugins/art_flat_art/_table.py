"""Every evasion attack of ART: what it takes, what it is for, what is wrong with it.

The facts were found by running ART 1.20.1 on NumPy 2 and reading its sources; line numbers are those of 1.20.1.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import art
from art.attacks import evasion

from art_flat._types import Norm
from art_flat.adapters.base import Adapter
from art_flat.attacks import AttackInfo, Problem

from . import _runs as runs
from ._attack import Row
from ._compat import installed, seeded_states, standard_multiprocessing
from ._view import CHANNELS_LAST, COLUMN, Scale

Params = Mapping[str, Any]

ANY: tuple[Norm, ...] = ("L2", "Linf", "L1", "L0")
FLEES_PREDICTION = "ignores y and flees the predicted class; points that are wrong when clean are left as they are"
ONE_BATCH = "what a point gets depends on the other points of its batch"
LAST = "gives back its last iterate"
ONE_VALUE = "in L1 a step moves one value, which stalls once that value is at the edge of the range"
SCALED = "default step 2.5 δ/max_iter"
WRONG_CLASS = "reads y as a target; untargeted it is given the most likely wrong class"
UNIT = "lengths among its parameters are in units of a range of [0, 1]"
FIRST_FLIP = (
    "works only on points that are right when clean and does not keep its best iterate: for a point it cannot "
    "flip it gives back the clean point plus start noise"
)


def scaled_step(delta: float, params: Params) -> float:
    """2.5 δ/max_iter: the whole ball can be crossed."""
    return 2.5 * delta / max(1, params["max_iter"])


def double_step(delta: float, params: Params) -> float:
    """2 δ, the first step of the papers; these attacks only ever halve it."""
    return 2 * delta


def tenth_step(delta: float, params: Params) -> float:
    """δ/10: ten sizes are tried."""
    return delta / 10


def pixels(problem: Problem) -> int:
    """How many pixels may change if δ values may; a pixel has one value per channel."""
    return int((problem.delta or 0) // problem.net.input_shape[0])


def grey_levels(problem: Problem) -> float:
    """δ in steps of 1/255 of the range, one less because ART truncates to whole levels afterwards."""
    return 255 * (problem.delta or 0) / Scale.of(problem).size - 1


def needs_dlr(params: Params, net: Adapter, norm: Norm) -> str | None:
    """The L∞ defect of ACG and ReACG."""
    if norm == "Linf" and params["loss_type"] != "difference_logits_ratio":
        return (
            "steps along the raw gradient in Linf with cross-entropy (the sign is computed and then not used) and "
            'hardly attacks; use L2, loss_type="difference_logits_ratio" or art:AutoProjectedGradientDescent'
        )
    return None


def dlr_classes(params: Params, net: Adapter, norm: Norm) -> str | None:
    """The difference of logits ratio reads the third largest logit."""
    if params["loss_type"] == "difference_logits_ratio" and net.nb_classes < 3:
        return f"needs at least 3 classes for difference_logits_ratio, the classifier has {net.nb_classes}"
    return None


def square_fits(params: Params, net: Adapter, norm: Norm) -> str | None:
    """ART draws the place of its first square from an empty range on some small images."""
    height, width = net.input_shape[1:]
    side = max(round(math.sqrt(params["p_init"] * height * width)), 1 if norm == "Linf" else 3)
    side += norm == "L2" and side % 2 == 0
    if side >= min(height, width):
        return f"has a first square of {side}×{side} pixels on images of {height}×{width}; lower p_init"
    return None


def dct_fits(params: Params, net: Adapter, norm: Norm) -> str | None:
    """SimBA's blocks have to tile a square image."""
    _, height, width = net.input_shape
    if height != width or (height - params["freq_dim"]) % params["stride"]:
        return f"needs square images with (side − freq_dim) divisible by stride, the images are {height}×{width}"
    return None


def inner_attack(*names: str) -> Callable[[Params, Adapter, Norm], str | None]:
    """The attacks a universal perturbation can be made from here."""

    def check(params: Params, net: Adapter, norm: Norm) -> str | None:
        known = ", ".join(map(repr, names))
        return None if params["attacker"] in names else f"takes attacker={known} here, not {params['attacker']!r}"

    return check


def cma_installed(params: Params, net: Adapter, norm: Norm) -> str | None:
    """es=0 is CMA-ES."""
    if params["es"] == 0 and not installed("cma"):
        return "needs the package cma for es=0 (pip install cma); es=1, differential evolution, does without"
    return None


GRADIENT = Row(
    "",
    ("Linf", "L2", "L1"),
    maximises_loss=True,
    radius="eps",
    step=("eps_step", scaled_step),
)
AUTO = Row(
    "",
    ("Linf", "L2", "L1"),
    radius="eps",
    step=("eps_step", double_step),
    checks=(dlr_classes,),
    notes=("default step 2 δ, as published; it is only ever halved", FIRST_FLIP),
)
NEAREST = Row("", ("L2",), budget="minimum-norm")
UNMEASURED = Row("", ANY, budget="none")


def _refused(name: str, reason: str) -> Row:
    return Row(name, ANY, usability="refused", reason=reason)


def _needing(package: str, row: Row) -> Row:
    """The row, or its refusal where a package is missing."""
    if installed(package):
        return row
    return replace(row, usability="refused", reason=f"needs the package {package}, which is not installed")


ROWS: tuple[Row, ...] = (
    replace(GRADIENT, name="FastGradientMethod",
        step=("eps_step", tenth_step),
        notes=(ONE_VALUE, "minimal=True tries sizes eps_step, 2 eps_step, … ≤ δ (default δ/10)"),
    ),
    replace(GRADIENT, name="BasicIterativeMethod", norms=("Linf",), notes=(SCALED, LAST)),
    replace(GRADIENT, name="ProjectedGradientDescent",
        notes=(SCALED, LAST, ONE_VALUE, "num_random_init > 1: a later run replaces the first where it flips"),
    ),
    replace(GRADIENT, name="MomentumIterativeMethod", notes=(SCALED, LAST, ONE_VALUE)),
    replace(AUTO, name="AutoProjectedGradientDescent"),
    *(
        replace(AUTO, name=name,
            norms=("L2", "L1", "Linf"),
            checks=(dlr_classes, needs_dlr),
            usability="degraded",
            reason="in Linf only with loss_type='difference_logits_ratio': with cross-entropy it hardly attacks",
        )
        for name in ("AutoConjugateGradient", "RescalingAutoConjugateGradient")
    ),
    replace(AUTO, name="AutoAttack",
        checks=(),
        targeted=False,
        classes=3,
        run=runs.ensemble,
        around=standard_multiprocessing,
        hidden=("attacks", "estimator_orig", "parallel_pool_size"),
        notes=(
            "not the published standard: APGD-CE, APGD-DLR (100 steps, 5 restarts each), DeepFool (kept if inside "
            "the ball), Square (5 × 5000 queries)",
            "needs the package multiprocess, for which the standard library's multiprocessing stands in",
        ),
    ),
    replace(NEAREST, name="CarliniL2Method"),
    replace(NEAREST, name="CarliniLInfMethod",
        norms=("Linf",),
        targeted=False,
        notes=("its targeted mode accepts any class but the target (carlini.py:719), so it is not offered",),
    ),
    replace(NEAREST, name="CarliniL0Method",
        norms=("L0",),
        layout=COLUMN,
        run=runs.one_by_one,
        hidden=("mask",),
        usability="degraded",
        reason="one L2 attack for every input value it fixes: minutes for a 28×28 image",
        notes=(
            "ART fixes as many values as its input has channels; it is shown one value per channel, so that it can "
            "fix them all",
        ),
    ),
    replace(NEAREST, name="DeepFool",
        predicted=True,
        notes=(FLEES_PREDICTION, "overshoot `epsilon` 1e-6 leaves points on the boundary; 0.02 is usual"),
    ),
    replace(NEAREST, name="ElasticNet", norms=("L1", "L2")),
    replace(NEAREST, name="NewtonFool",
        predicted=True,
        probabilities=True,
        notes=(FLEES_PREDICTION, "does not stop at the first flip"),
    ),
    replace(NEAREST, name="SaliencyMapMethod",
        norms=("L0",),
        targeted=True,
        labels="wrong",
        notes=(WRONG_CLASS, "with theta > 0 it only ever raises values", UNIT),
    ),
    Row(
        "UniversalPerturbation",
        ("Linf", "L2"),
        radius="eps",
        run=runs.universal,
        checks=(inner_attack("deepfool", "carlini", "carlini_inf", "ead", "newtonfool", *runs.STEP_ATTACKS),),
        notes=("one perturbation for the whole batch", ONE_BATCH),
    ),
    Row(
        "TargetedUniversalPerturbation",
        ("Linf", "L2"),
        radius="eps",
        targeted=True,
        labels="wrong",
        run=runs.universal_targeted,
        checks=(inner_attack("fgsm"),),
        notes=(
            "one perturbation for the whole batch, towards one class; untargeted the commonest most likely wrong one",
            "ART leaves the attack inside untargeted, so that it flees the target; here it is targeted",
            ONE_BATCH,
        ),
    ),
    Row(
        "SquareAttack",
        ("Linf", "L2"),
        access="black-box",
        radius="eps",
        hidden=("adv_criterion", "loss"),
        images=True,
        checks=(square_fits,),
        notes=("reduces the margin, not the loss; points that are wrong when clean are left as they are",),
    ),
    replace(NEAREST, name="HopSkipJump",
        norms=("L2", "Linf"),
        access="black-box",
        predicted=True,
        run=runs.from_images,
        around=seeded_states,
        notes=(FLEES_PREDICTION, "targeted it starts from an image of the batch that has the target class"),
    ),
    replace(NEAREST, name="BoundaryAttack",
        access="black-box",
        predicted=True,
        run=runs.from_images,
        around=seeded_states,
        notes=(
            FLEES_PREDICTION,
            "untargeted unless `target` is given, whatever ART's default",
            "targeted it starts from an image of the batch that has the target class",
        ),
    ),
    replace(NEAREST, name="SignOPTAttack",
        access="black-box",
        predicted=True,
        classes=3,
        run=runs.from_pool,
        hidden=("eval_perform",),
        notes=(
            FLEES_PREDICTION,
            "untargeted unless `target` is given, whatever ART's default",
            "targeted it searches its first direction among the images of the batch",
        ),
    ),
    replace(NEAREST, name="ZooAttack", access="black-box"),
    replace(UNMEASURED, name="SimBA",
        access="black-box",
        probabilities=True,
        images=True,
        hidden=("batch_size",),
        checks=(dct_fits,),
        notes=("stops at the first flip, however far; max_iter steps of length epsilon", UNIT),
    ),
    Row(
        "VirtualAdversarialMethod",
        ("L2",),
        access="black-box",
        radius="eps",
        predicted=True,
        probabilities=True,
        defaults={"finite_diff": 1e-3},
        usability="degraded",
        reason="one forward pass per input value and iteration, for one step of length δ",
        notes=(
            "moves away from the predicted distribution; points that are wrong when clean are left as they are",
            "ART's finite_diff of 1e-6 is below what float32 resolves; the default here is 1e-3",
            UNIT,
        ),
    ),
    replace(UNMEASURED, name="Wasserstein",
        run=runs.one_by_one,
        hidden=("norm",),
        images=True,
        usability="degraded",
        reason="its exponentials overflow on steep losses (wasserstein.py:388); such points are marked failed",
        notes=("its ball is a Wasserstein ball of radius eps that grows by eps_factor until the point flips", UNIT),
    ),
    replace(UNMEASURED, name="ShadowAttack",
        labels="wrong",
        run=runs.one_by_one,
        images=True,
        defaults={"batch_size": 400},
        notes=(WRONG_CLASS, "large smooth perturbations; batch_size is the number of noisy copies of one image", UNIT),
    ),
    replace(UNMEASURED, name="SpatialTransformation",
        access="black-box",
        predicted=True,
        layout=CHANNELS_LAST,
        run=runs.one_by_one,
        images=True,
        defaults={"max_translation": 10.0, "num_translations": 5, "max_rotation": 30.0, "num_rotations": 7},
        notes=(
            FLEES_PREDICTION,
            "ART's own defaults move nothing; here up to 10 % of the side and 30 degrees",
            "ART takes the channels for rows and one transformation for the whole batch; it is shown one image at a "
            "time, channels last, so that the search covers both directions and every image gets its own",
        ),
    ),
    Row(
        "PixelAttack",
        ("L0",),
        access="black-box",
        radius="th",
        radius_value=pixels,
        classes=3,
        images=True,
        checks=(cma_installed,),
        notes=("changes whole pixels: δ divided by the number of channels",),
    ),
    Row(
        "ThresholdAttack",
        ("Linf",),
        access="black-box",
        radius="th",
        radius_value=grey_levels,
        classes=3,
        images=True,
        defaults={"es": 1},
        checks=(cma_installed,),
        usability="degraded",
        reason="searches every pixel by evolution, one image at a time: seconds to minutes per image",
        notes=(
            "ART's default es=0 needs the package cma; the default here is es=1",
            "works in grey levels of 1/255 of the range and truncates: the radius is one level less than δ",
        ),
    ),
    replace(UNMEASURED, name="AdversarialPatchPyTorch",
        run=runs.patched,
        images=True,
        hidden=("patch_shape", "patch_location"),
        defaults={"learning_rate": 0.1},
        extra={"scale": 0.5},
        notes=(
            "one patch for the whole batch, as wide as the image, put on every image at `scale` (of apply_patch)",
            ONE_BATCH,
            "ART's learning rate 5.0 is meant for [0, 255]; the default here is 0.1, in units of a range of [0, 1]",
        ),
    ),
    Row(
        "FeatureAdversariesPyTorch",
        ("Linf",),
        radius="delta",
        step=("step_size", scaled_step),
        targeted=True,
        run=runs.towards_guides,
        hidden=("optimizer", "optimizer_kwargs", "layer"),
        notes=(
            "approaches the logits of a guide: the nearest image of the batch with another predicted class, or with "
            "the target; without one the point stays",
            ONE_BATCH,
            SCALED,
        ),
    ),
    Row(
        "FrameSaliencyAttack",
        ("Linf",),
        targeted=True,
        run=runs.frame_by_frame,
        hidden=("attacker",),
        defaults={"frame_index": 2},
        extra={"max_iter": 10},
        images=True,
        notes=(
            "meant for sequences; frames are the rows of an image (frame_index=2)",
            "perturbs frame after frame until the point flips, by projected gradient descent of `max_iter` steps of "
            "2.5 δ/max_iter",
        ),
    ),
    _needing("kornia", _refused("CompositeAdversarialAttackPyTorch", "")),
    _needing("numba", _refused("BrendelBethgeAttack", "")),
    _needing("cv2", _refused("GRAPHITEWhiteboxPyTorch", "")),
    _needing("cv2", _refused("GRAPHITEBlackbox", "")),
    _refused(
        "GeoDA",
        "np.mat, removed in NumPy 2 (geometric_decision_based_attack.py:160); it also writes a file into the working "
        "directory and searches its first point without end",
    ),
    _refused("LaserAttack", "np.asfarray, removed in NumPy 2 (laser_attack.py:315)"),
    _refused(
        "AdversarialPatchNumpy",
        "its first patch is never made on NumPy 2, whose float32 is no float (adversarial_patch_numpy.py:619); use "
        "art:AdversarialPatchPyTorch",
    ),
)


@functools.cache
def attacks() -> tuple[AttackInfo, ...]:
    """What art_flat is told of every evasion attack of ART, for the registry."""
    return tuple(row.info(art.__version__) for row in ROWS)


__all__ = ["ROWS", "attacks", "evasion"]
