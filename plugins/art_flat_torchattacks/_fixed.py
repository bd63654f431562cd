"""The attacks of torchattacks 3.5.1 that are told the radius δ, one row each."""

from __future__ import annotations

from . import _notes as notes
from . import _special as special
from ._row import Row, Step

_STEP = Step()

ROWS: tuple[Row, ...] = (
    # Loss ascent, L∞
    Row("FGSM", ("Linf",), maximises_loss=True),
    Row("FFGSM", ("Linf",), maximises_loss=True, step=Step(steps=None, factor=1.25)),
    Row("BIM", ("Linf",), maximises_loss=True, step=_STEP, notes=(notes.LAST,)),
    Row("RFGSM", ("Linf",), maximises_loss=True, step=_STEP, notes=(notes.LAST,)),
    Row("PGD", ("Linf",), maximises_loss=True, step=_STEP, notes=(notes.LAST,)),
    Row("EOTPGD", ("Linf",), maximises_loss=True, step=_STEP, notes=(notes.LAST,)),
    Row("MIFGSM", ("Linf",), maximises_loss=True, step=_STEP, notes=(notes.LAST, notes.ZERO)),
    Row("NIFGSM", ("Linf",), maximises_loss=True, step=_STEP, notes=(notes.LAST, notes.ZERO, notes.OUTSIDE)),
    Row("VMIFGSM", ("Linf",), maximises_loss=True, step=_STEP, notes=(notes.LAST, notes.ZERO, notes.OUTSIDE)),
    Row("VNIFGSM", ("Linf",), maximises_loss=True, step=_STEP, notes=(notes.LAST, notes.ZERO, notes.OUTSIDE)),
    Row(
        "UPGD",
        ("Linf",),
        maximises_loss=True,
        step=_STEP,
        positive_logits=True,
        aim=special.target_unless_dlr,
        checks=(special.three_classes_for_dlr,),
        notes=(
            notes.LAST,
            notes.ZERO,
            notes.POSITIVE,
            'maximises the cross-entropy with loss="ce", its default',
        ),
    ),
    Row(
        "PIFGSM",
        ("Linf",),
        maximises_loss=True,
        targeted=False,
        radius="max_epsilon",
        images=True,
        three_channels=True,
        checks=(special.one_or_three_channels,),
        notes=(notes.LAST, notes.WIDE),
    ),
    Row(
        "PIFGSMPP",
        ("Linf",),
        maximises_loss=True,
        radius="max_epsilon",
        images=True,
        three_channels=True,
        checks=(special.one_or_three_channels,),
        usability="degraded",
        reason="the library's smoothing kernel differs between the channels and is no Gaussian",
        notes=(notes.LAST, notes.WIDE),
    ),
    # Other objectives, L∞
    Row(
        "TPGD",
        ("Linf",),
        targeted=False,
        step=_STEP,
        usability="degraded",
        reason="takes no label: it climbs the KL divergence from the clean prediction, right or wrong",
        notes=(notes.LAST,),
    ),
    Row(
        "Jitter",
        ("Linf",),
        step=_STEP,
        notes=(notes.LAST, "climbs a squared error on noisy rescaled probabilities"),
    ),
    Row(
        "DIFGSM",
        ("Linf",),
        step=_STEP,
        images=True,
        checks=(special.shrinking_resize,),
        notes=(notes.LAST, notes.ZERO, notes.COPIES),
    ),
    Row(
        "TIFGSM",
        ("Linf",),
        step=_STEP,
        images=True,
        three_channels=True,
        checks=(special.one_or_three_channels, special.shrinking_resize),
        notes=(notes.LAST, notes.ZERO, notes.COPIES, notes.WIDE),
    ),
    Row("SINIFGSM", ("Linf",), step=_STEP, notes=(notes.LAST, notes.ZERO, notes.COPIES, notes.OUTSIDE)),
    Row(
        "PGDRS",
        ("Linf",),
        step=_STEP,
        notes=(
            notes.LAST,
            notes.OUTSIDE,
            "attacks the prediction averaged over noise_sd, hence weak on a plain classifier",
        ),
    ),
    Row(
        "SPSA",
        ("Linf",),
        access="black-box",
        step=Step("lr", "nb_iter"),
        notes=(
            notes.LAST,
            notes.OUTSIDE,
            "climbs the margin by estimated gradients; max_batch_size counts copies of the whole batch",
            "its parameter `delta` is the width of the finite differences, not the radius",
        ),
    ),
    # L∞ and L2
    Row(
        "APGD",
        ("Linf", "L2"),
        targeted=False,
        checks=(special.three_classes_for_dlr,),
        notes=(
            notes.FLIP,
            notes.SEED,
            "climbs to the last step, but keeps the last wrong point, not that with the largest loss",
        ),
    ),
    Row(
        "APGDT",
        ("Linf", "L2"),
        targeted=False,
        settings=special.classes_to_target,
        checks=(special.four_classes,),
        notes=(
            notes.FLIP,
            notes.SEED,
            "n_classes is at most the classifier's number of classes",
            "in L2 every sample walks with the step size of the batch's first",
        ),
    ),
    Row(
        "Square",
        ("Linf", "L2"),
        access="black-box",
        images=True,
        checks=(special.window_fits,),
        notes=(
            notes.FLIP,
            notes.SEED,
            notes.RESTART,
            "one random window for the whole batch: " + notes.BATCH,
        ),
    ),
    Row(
        "AutoAttack",
        ("Linf", "L2"),
        targeted=False,
        images=True,
        settings=special.classes_to_target,
        adjust=special.published_steps,
        checks=(special.classes_of_version, special.window_fits),
        extra={"steps": 100, "n_queries": 5000},
        notes=(
            notes.FLIP,
            notes.SEED,
            "`steps` and `n_queries` are those of the attacks inside: 100 as published, not the library's 10",
            "n_classes is at most the classifier's number of classes",
        ),
    ),
    Row(
        "MultiAttack",
        ("Linf", "L2"),
        targeted=False,
        radius=None,
        construct=special.several,
        checks=(special.inner_attacks_fit,),
        extra={"attacks": ("APGD", "Square")},
        notes=(notes.FLIP, "each attack of `attacks` gets the samples that those before it left right"),
    ),
    # L2
    Row(
        "PGDL2",
        ("L2",),
        maximises_loss=True,
        step=_STEP,
        notes=(notes.LAST, "gradients of the batch mean below eps_for_division shorten the step"),
    ),
    Row(
        "PGDRSL2",
        ("L2",),
        step=_STEP,
        notes=(
            notes.LAST,
            notes.OUTSIDE,
            "attacks the prediction averaged over noise_sd, hence weak on a plain classifier",
        ),
    ),
)
