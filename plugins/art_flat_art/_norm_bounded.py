"""Attacks of ART inside a ball of radius δ."""

from __future__ import annotations

from dataclasses import replace

from . import _quirks as quirks
from . import _runners as runners
from ._compat import standard_multiprocessing
from ._spec import ArtSpec

_GRADIENT = ArtSpec(
    "",
    ("Linf", "L2", "L1"),
    maximises_loss=True,
    radius="eps",
    step=("eps_step", quirks.scaled_step),
    hidden=("summary_writer",),
)
_AUTO = ArtSpec(
    "",
    ("Linf", "L2", "L1"),
    radius="eps",
    step=("eps_step", quirks.double_step),
    checks=(quirks.dlr_classes,),
    notes=("default step 2 δ, as published; it is only ever halved", quirks.FIRST_FLIP),
)
_CONJUGATE = replace(
    _AUTO,
    norms=("L2", "L1", "Linf"),
    checks=(quirks.dlr_classes, quirks.needs_dlr),
    usability="degraded",
    reason='in Linf only with loss_type="difference_logits_ratio": with cross-entropy it is nearly ineffective there',
)

NORM_BOUNDED: tuple[ArtSpec, ...] = (
    replace(
        _GRADIENT,
        name="FastGradientMethod",
        step=("eps_step", quirks.tenth_step),
        notes=(quirks.ONE_VALUE, "minimal=True tries sizes eps_step, 2 eps_step, … ≤ δ (default δ/10)"),
    ),
    replace(_GRADIENT, name="BasicIterativeMethod", norms=("Linf",), notes=(quirks.SCALED, quirks.LAST)),
    replace(
        _GRADIENT,
        name="ProjectedGradientDescent",
        notes=(
            quirks.SCALED,
            quirks.LAST,
            "num_random_init > 1: a later run replaces the first where it flips",
            quirks.ONE_VALUE,
        ),
    ),
    replace(_GRADIENT, name="MomentumIterativeMethod", notes=(quirks.SCALED, quirks.LAST, quirks.ONE_VALUE)),
    replace(_AUTO, name="AutoProjectedGradientDescent"),
    replace(_CONJUGATE, name="AutoConjugateGradient"),
    replace(_CONJUGATE, name="RescalingAutoConjugateGradient"),
    replace(
        _AUTO,
        name="AutoAttack",
        targeted=False,
        classes=3,
        images=True,
        run=runners.ensemble,
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
    ArtSpec(
        "SquareAttack",
        ("Linf", "L2"),
        access="black-box",
        radius="eps",
        hidden=("adv_criterion", "loss"),
        images=True,
        checks=(quirks.square_fits,),
        notes=("reduces the margin, not the loss; misclassified points are left unchanged",),
    ),
    ArtSpec(
        "UniversalPerturbation",
        ("Linf", "L2"),
        radius="eps",
        run=runners.universal,
        checks=(quirks.inner_attack("deepfool", "carlini", "carlini_inf", "ead", *runners.STEP_ATTACKS),),
        notes=("one perturbation for the whole batch", quirks.ONE_BATCH),
    ),
    ArtSpec(
        "TargetedUniversalPerturbation",
        ("Linf", "L2"),
        radius="eps",
        targeted=True,
        labels="wrong",
        run=runners.universal_targeted,
        checks=(quirks.inner_attack("fgsm"),),
        notes=(
            "one perturbation for the whole batch; untargeted, towards the commonest of the most likely wrong classes",
            "ART leaves the attack inside untargeted, so that it flees the target; here it is targeted",
            quirks.ONE_BATCH,
        ),
    ),
    ArtSpec(
        "FeatureAdversariesPyTorch",
        ("Linf",),
        radius="delta",
        step=("step_size", quirks.scaled_step),
        targeted=True,
        run=runners.towards_starting_points,
        hidden=("optimizer", "optimizer_kwargs", "layer"),
        notes=(
            "approaches the logits of a guide: the nearest image of the batch with another predicted class, or with "
            "the target; without one the point stays",
            quirks.ONE_BATCH,
            quirks.SCALED,
        ),
    ),
    ArtSpec(
        "FrameSaliencyAttack",
        ("Linf",),
        targeted=True,
        run=runners.frame_by_frame,
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
    ArtSpec(
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
            "moves away from the predicted distribution; misclassified points are left unchanged",
            "ART's finite_diff of 1e-6 is below what float32 resolves; the default here is 1e-3",
            quirks.UNIT,
        ),
    ),
    ArtSpec(
        "PixelAttack",
        ("L0",),
        access="black-box",
        radius="th",
        radius_value=quirks.pixels,
        classes=3,
        images=True,
        checks=(quirks.cma_installed,),
        notes=("changes whole pixels, δ divided by the number of channels of them",),
    ),
    ArtSpec(
        "ThresholdAttack",
        ("Linf",),
        access="black-box",
        radius="th",
        radius_value=quirks.grey_levels,
        classes=3,
        images=True,
        defaults={"es": 1},
        checks=(quirks.cma_installed,),
        usability="degraded",
        reason="searches every pixel by evolution, one image at a time: seconds to minutes per image",
        notes=(
            "ART's default es=0 needs the package cma; the default here is es=1",
            "works in grey levels of 1/255 of the range and cuts off fractions: the radius is one level less than δ",
        ),
    ),
)
"""One specification per attack."""
