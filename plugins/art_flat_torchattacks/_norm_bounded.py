"""Norm-bounded attacks of torchattacks 3.5.1."""

from __future__ import annotations

from . import _notes as notes
from . import _quirks as quirks
from ._spec import Step, TorchattacksSpec

_STEP = Step()

ROWS: tuple[TorchattacksSpec, ...] = (
    # Loss ascent, L∞
    TorchattacksSpec("FGSM", ("Linf",), maximises_loss=True),
    TorchattacksSpec("FFGSM", ("Linf",), maximises_loss=True, step=Step(steps=None, factor=1.25)),
    TorchattacksSpec("BIM", ("Linf",), maximises_loss=True, step=_STEP, notes=(notes.LAST,)),
    TorchattacksSpec("RFGSM", ("Linf",), maximises_loss=True, step=_STEP, notes=(notes.LAST,)),
    TorchattacksSpec("PGD", ("Linf",), maximises_loss=True, step=_STEP, notes=(notes.LAST,)),
    TorchattacksSpec("EOTPGD", ("Linf",), maximises_loss=True, step=_STEP, notes=(notes.LAST,)),
    TorchattacksSpec("MIFGSM", ("Linf",), maximises_loss=True, step=_STEP, notes=(notes.LAST, notes.ZERO)),
    TorchattacksSpec(
        "NIFGSM", ("Linf",), maximises_loss=True, step=_STEP, notes=(notes.LAST, notes.ZERO, notes.OUTSIDE)
    ),
    TorchattacksSpec(
        "VMIFGSM", ("Linf",), maximises_loss=True, step=_STEP, notes=(notes.LAST, notes.ZERO, notes.OUTSIDE)
    ),
    TorchattacksSpec(
        "VNIFGSM", ("Linf",), maximises_loss=True, step=_STEP, notes=(notes.LAST, notes.ZERO, notes.OUTSIDE)
    ),
    TorchattacksSpec(
        "UPGD",
        ("Linf",),
        maximises_loss=True,
        step=_STEP,
        positive_logits=True,
        aim=quirks.target_unless_dlr,
        checks=(quirks.three_classes_for_dlr,),
        notes=(
            notes.LAST,
            notes.ZERO,
            notes.POSITIVE,
            'maximises the cross-entropy with loss="ce", its default',
        ),
    ),
    TorchattacksSpec(
        "PIFGSM",
        ("Linf",),
        maximises_loss=True,
        targeted=False,
        radius="max_epsilon",
        images=True,
        three_channels=True,
        checks=(quirks.one_or_three_channels,),
        notes=(notes.LAST, notes.WIDE),
    ),
    TorchattacksSpec(
        "PIFGSMPP",
        ("Linf",),
        maximises_loss=True,
        radius="max_epsilon",
        images=True,
        three_channels=True,
        checks=(quirks.one_or_three_channels,),
        usability="degraded",
        reason="the library's smoothing kernel differs between the channels and is not a Gaussian",
        notes=(notes.LAST, notes.WIDE),
    ),
    # Other objectives, L∞
    TorchattacksSpec(
        "TPGD",
        ("Linf",),
        targeted=False,
        step=_STEP,
        usability="degraded",
        reason="takes no label: it maximises the KL divergence from the clean prediction, correct or not",
        notes=(notes.LAST,),
    ),
    TorchattacksSpec(
        "Jitter",
        ("Linf",),
        step=_STEP,
        notes=(notes.LAST, "maximises a squared error on noisy rescaled probabilities"),
    ),
    TorchattacksSpec(
        "DIFGSM",
        ("Linf",),
        step=_STEP,
        images=True,
        checks=(quirks.shrinking_resize,),
        notes=(notes.LAST, notes.ZERO, notes.COPIES),
    ),
    TorchattacksSpec(
        "TIFGSM",
        ("Linf",),
        step=_STEP,
        images=True,
        three_channels=True,
        checks=(quirks.one_or_three_channels, quirks.shrinking_resize),
        notes=(notes.LAST, notes.ZERO, notes.COPIES, notes.WIDE),
    ),
    TorchattacksSpec(
        "SINIFGSM", ("Linf",), step=_STEP, notes=(notes.LAST, notes.ZERO, notes.COPIES, notes.OUTSIDE)
    ),
    TorchattacksSpec(
        "PGDRS",
        ("Linf",),
        step=_STEP,
        notes=(
            notes.LAST,
            notes.OUTSIDE,
            "attacks the prediction averaged over noise_sd, hence weak on a plain classifier",
        ),
    ),
    TorchattacksSpec(
        "SPSA",
        ("Linf",),
        access="black-box",
        step=Step("lr", "nb_iter"),
        notes=(
            notes.LAST,
            notes.OUTSIDE,
            "maximises the margin with estimated gradients; max_batch_size counts copies of the whole batch",
            "its parameter `delta` is the width of the finite differences, not the radius",
        ),
    ),
    # L∞ and L2
    TorchattacksSpec(
        "APGD",
        ("Linf", "L2"),
        targeted=False,
        checks=(quirks.three_classes_for_dlr,),
        notes=(
            notes.FLIP,
            notes.SEED,
            "ascends to the last step, but returns the last wrong point, not that with the largest loss",
        ),
    ),
    TorchattacksSpec(
        "APGDT",
        ("Linf", "L2"),
        targeted=False,
        settings=quirks.classes_to_target,
        checks=(quirks.four_classes,),
        notes=(
            notes.FLIP,
            notes.SEED,
            "n_classes is at most the classifier's number of classes",
            "in L2 every sample uses the step size of the batch's first",
        ),
    ),
    TorchattacksSpec(
        "Square",
        ("Linf", "L2"),
        access="black-box",
        images=True,
        checks=(quirks.window_fits,),
        notes=(
            notes.FLIP,
            notes.SEED,
            notes.RESTART,
            "one random window for the whole batch: " + notes.BATCH,
        ),
    ),
    TorchattacksSpec(
        "AutoAttack",
        ("Linf", "L2"),
        targeted=False,
        images=True,
        settings=quirks.classes_to_target,
        adjust=quirks.published_steps,
        checks=(quirks.classes_of_version, quirks.window_fits),
        extra={"steps": 100, "n_queries": 5000},
        notes=(
            notes.FLIP,
            notes.SEED,
            "`steps` and `n_queries` apply to the inner attacks: 100 as published, not the library's 10",
            "n_classes is at most the classifier's number of classes",
        ),
    ),
    TorchattacksSpec(
        "MultiAttack",
        ("Linf", "L2"),
        targeted=False,
        radius=None,
        construct=quirks.several,
        checks=(quirks.inner_attacks_fit,),
        extra={"attacks": ("APGD", "Square")},
        notes=(notes.FLIP, "each attack of `attacks` gets the samples that the earlier ones did not fool"),
    ),
    # L2
    TorchattacksSpec(
        "PGDL2",
        ("L2",),
        maximises_loss=True,
        step=_STEP,
        notes=(notes.LAST, "gradients of the batch mean below eps_for_division shorten the step"),
    ),
    TorchattacksSpec(
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
