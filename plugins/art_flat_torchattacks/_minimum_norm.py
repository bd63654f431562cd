"""Minimum-norm attacks, noise controls and refused attacks of torchattacks 3.5.1."""

from __future__ import annotations

from . import _notes as notes
from . import _quirks as quirks
from ._spec import TorchattacksSpec

ROWS: tuple[TorchattacksSpec, ...] = (
    # Controls
    TorchattacksSpec(
        "VANILA",
        ("Linf", "L2", "L1", "L0"),
        budget="none",
        access="none",
        targeted=False,
        radius=None,
        notes=("control: returns the clean image",),
    ),
    TorchattacksSpec(
        "GN",
        ("Linf", "L2", "L1"),
        budget="none",
        access="none",
        targeted=False,
        radius=None,
        settings=quirks.noise_of_size,
        finish=quirks.into_ball,
        extra={"std": None},
        notes=(
            "control: Gaussian noise; std, in [0, 1] units, makes it as large as delta in the norm unless "
            "given (0.1 without delta), and noise beyond delta is scaled down",
        ),
    ),
    # L2
    TorchattacksSpec(
        "CW",
        ("L2",),
        budget="minimum-norm",
        radius=None,
        positive_logits=True,
        begin=quirks.inside_range,
        notes=(
            notes.ALONE,
            "starts from images clamped to [0.001, 0.999], since it never moves values of exactly 0 or 1",
            notes.POSITIVE,
            notes.STOPS,
        ),
    ),
    TorchattacksSpec(
        "DeepFool",
        ("L2",),
        budget="minimum-norm",
        targeted=False,
        radius=None,
        finish=quirks.pushed_over,
        notes=(
            notes.ALONE,
            "the library stalls just inside the boundary where values saturate; points still right get the "
            "overshoot once more",
            "runs image by image",
        ),
    ),
    TorchattacksSpec(
        "EADEN",
        ("L2", "L1"),
        budget="minimum-norm",
        radius=None,
        positive_logits=True,
        call=quirks.one_by_one_with_kappa,
        checks=(quirks.ten_iterations,),
        notes=(notes.ALONE, notes.OUTSIDE, notes.POSITIVE, notes.STOPS, "with kappa it runs image by image"),
    ),
    # L1 and L0
    TorchattacksSpec(
        "EADL1",
        ("L1",),
        budget="minimum-norm",
        radius=None,
        positive_logits=True,
        call=quirks.one_by_one_with_kappa,
        checks=(quirks.ten_iterations,),
        notes=(notes.ALONE, notes.OUTSIDE, notes.POSITIVE, notes.STOPS, "with kappa it runs image by image"),
    ),
    TorchattacksSpec(
        "FAB",
        ("Linf", "L2"),
        budget="minimum-norm",
        targeted=False,
        settings=quirks.whole_range,
        call=quirks.nearest_over_classes,
        notes=(
            notes.ALONE,
            notes.RESTART,
            notes.SEED,
            "norm L1 fails inside the library; its targeted mode attacks nothing and is not offered",
            "multi_targeted returns the nearest point over the classes, at most the classifier's number of them",
        ),
    ),
    TorchattacksSpec(
        "SparseFool",
        ("L0",),
        budget="minimum-norm",
        targeted=False,
        radius=None,
        notes=(notes.ALONE, notes.OUTSIDE, "runs image by image"),
    ),
    TorchattacksSpec(
        "JSMA",
        ("L0",),
        budget="minimum-norm",
        radius=None,
        aim=quirks.next_class,
        checks=(quirks.saliency_fits,),
        usability="degraded",
        reason="always targeted: without `target`, at the class after the true one",
        notes=(notes.ALONE, "memory and time grow with the square of the number of features"),
    ),
    TorchattacksSpec(
        "OnePixel",
        ("L0",),
        budget="minimum-norm",
        access="black-box",
        radius=None,
        images=True,
        notes=(notes.ALONE, "changes at most `pixels` pixels in all their channels"),
    ),
    TorchattacksSpec(
        "Pixle",
        ("L0",),
        budget="minimum-norm",
        access="black-box",
        radius=None,
        images=True,
        checks=(quirks.square_images,),
        call=quirks.one_by_one,
        notes=(
            notes.ALONE,
            "rearranges pixels until the prediction changes, and does not minimise their number",
        ),
    ),
    # Not possible here
    TorchattacksSpec(
        "LGV",
        ("Linf",),
        radius=None,
        targeted=False,
        usability="refused",
        reason=(
            "it trains copies of the classifier on the training data, which an attack is not given; train "
            "copies yourself and score the points of another attack on them by transfer"
        ),
    ),
)
