"""Attacks inside a ball of radius δ."""

from __future__ import annotations

from dataclasses import replace

from . import _rules as rules
from . import _runs as runs
from ._compat import standard_multiprocessing
from ._row import Row

_GRADIENT = Row(
    "",
    ("Linf", "L2", "L1"),
    maximises_loss=True,
    radius="eps",
    step=("eps_step", rules.scaled_step),
    hidden=("summary_writer",),
)
_AUTO = Row(
    "",
    ("Linf", "L2", "L1"),
    radius="eps",
    step=("eps_step", rules.double_step),
    checks=(rules.dlr_classes,),
    notes=("default step 2 δ, as published; it is only ever halved", rules.FIRST_FLIP),
)
_CONJUGATE = replace(
    _AUTO,
    norms=("L2", "L1", "Linf"),
    checks=(rules.dlr_classes, rules.needs_dlr),
    usability="degraded",
    reason='in Linf only with loss_type="difference_logits_ratio": with cross-entropy it hardly attacks there',
)

FIXED: tuple[Row, ...] = (
    replace(
        _GRADIENT,
        name="FastGradientMethod",
        step=("eps_step", rules.tenth_step),
        notes=(rules.ONE_VALUE, "minimal=True tries sizes eps_step, 2 eps_step, … ≤ δ (default δ/10)"),
    ),
    replace(_GRADIENT, name="BasicIterativeMethod", norms=("Linf",), notes=(rules.SCALED, rules.LAST)),
    replace(
        _GRADIENT,
        name="ProjectedGradientDescent",
        notes=(
            rules.SCALED,
            rules.LAST,
            "num_random_init > 1: a later run replaces the first where it flips",
            rules.ONE_VALUE,
        ),
    ),
    replace(_GRADIENT, name="MomentumIterativeMethod", notes=(rules.SCALED, rules.LAST, rules.ONE_VALUE)),
    replace(_AUTO, name="AutoProjectedGradientDescent"),
    replace(_CONJUGATE, name="AutoConjugateGradient"),
    replace(_CONJUGATE, name="RescalingAutoConjugateGradient"),
    replace(
        _AUTO,
        name="AutoAttack",
        targeted=False,
        classes=3,
        images=True,
        run=runs.ensemble,
        around=standard_multiprocessing,
        hidden=("attacks", "estimator_orig", "parallel_pool_size"),
        checks=(),
        notes=(
            "not the published standard: APGD-CE and APGD-DLR (100 steps, 5 restarts each), DeepFool (kept where it "
            "stays in the ball), Square (5 × 5000 queries)",
            *_AUTO.notes,
            "needs the package multiprocess, for which the standard library's multiprocessing stands in",
        ),
    ),
    Row(
        "SquareAttack",
        ("Linf", "L2"),
        access="black-box",
        radius="eps",
        hidden=("adv_criterion", "loss"),
        images=True,
        checks=(rules.square_fits,),
        notes=("reduces the margin, not the loss; points that are wrong when clean are left as they are",),
    ),
    Row(
        "UniversalPerturbation",
        ("Linf", "L2"),
        radius="eps",
        run=runs.universal,
        checks=(rules.inner_attack("deepfool", "carlini", "carlini_inf", "ead", *runs.STEP_ATTACKS),),
        notes=("one perturbation for the whole batch", rules.ONE_BATCH),
    ),
    Row(
        "TargetedUniversalPerturbation",
        ("Linf", "L2"),
        radius="eps",
        targeted=True,
        labels="wrong",
        run=runs.universal_targeted,
        checks=(rules.inner_attack("fgsm"),),
        notes=(
            "one perturbation for the whole batch; untargeted, towards the commonest of the most likely wrong classes",
            "ART leaves the attack inside untargeted, so that it flees the target; here it is targeted",
            rules.ONE_BATCH,
        ),
    ),
    Row(
        "FeatureAdversariesPyTorch",
        ("Linf",),
        radius="delta",
        step=("step_size", rules.scaled_step),
        targeted=True,
        run=runs.towards_guides,
        hidden=("optimizer", "optimizer_kwargs", "layer"),
        notes=(
            "approaches the logits of a guide: the nearest image of the batch with another predicted class, or with "
            "the target; without one the point stays",
            rules.ONE_BATCH,
            rules.SCALED,
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
            "meant for sequences; here the rows of an image are its frames (frame_index=2)",
            "perturbs frame after frame until the point flips, by projected gradient descent of `max_iter` steps of "
            "2.5 δ/max_iter",
        ),
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
        reason="one forward pass per input value and iteration, for one step of length δ whose sign is chance",
        notes=(
            "moves away from the predicted distribution; points that are wrong when clean are left as they are",
            "ART's finite_diff of 1e-6 is below what float32 resolves; the default here is 1e-3",
            rules.UNIT,
        ),
    ),
    Row(
        "PixelAttack",
        ("L0",),
        access="black-box",
        radius="th",
        radius_value=rules.pixels,
        classes=3,
        images=True,
        checks=(rules.cma_installed,),
        notes=("changes whole pixels, δ divided by the number of channels of them",),
    ),
    Row(
        "ThresholdAttack",
        ("Linf",),
        access="black-box",
        radius="th",
        radius_value=rules.grey_levels,
        classes=3,
        images=True,
        defaults={"es": 1},
        checks=(rules.cma_installed,),
        usability="degraded",
        reason="searches every pixel by evolution, one image at a time: seconds to minutes per image",
        notes=(
            "ART's default es=0 needs the package cma; the default here is es=1",
            "works in grey levels of 1/255 of the range and cuts off fractions: the radius is one level less than δ",
        ),
    ),
)
"""One row per attack."""
