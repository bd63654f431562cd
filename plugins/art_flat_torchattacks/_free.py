"""The attacks of torchattacks 3.5.1 that run without a radius, the controls, and the one that cannot run."""

from __future__ import annotations

from . import _notes as notes
from . import _special as special
from ._row import Row

ROWS: tuple[Row, ...] = (
    # Controls
    Row(
        "VANILA",
        ("Linf", "L2", "L1", "L0"),
        budget="none",
        access="none",
        targeted=False,
        radius=None,
        notes=("control: gives back the clean image",),
    ),
    Row(
        "GN",
        ("Linf", "L2", "L1"),
        budget="none",
        access="none",
        targeted=False,
        radius=None,
        settings=special.noise_of_size,
        finish=special.into_ball,
        extra={"std": None},
        notes=(
            "control: Gaussian noise; std, in [0, 1] units, makes it as large as delta in the norm unless "
            "given (0.1 without delta), and noise beyond delta is pulled back",
        ),
    ),
    # L2
    Row(
        "CW",
        ("L2",),
        budget="minimum-norm",
        radius=None,
        positive_logits=True,
        begin=special.inside_range,
        notes=(
            notes.ALONE,
            "starts from images clamped to [0.001, 0.999], since it never moves values of exactly 0 or 1",
            notes.POSITIVE,
            notes.STOPS,
        ),
    ),
    Row(
        "DeepFool",
        ("L2",),
        budget="minimum-norm",
        targeted=False,
        radius=None,
        finish=special.pushed_over,
        notes=(
            notes.ALONE,
            "the library stalls just inside the boundary where values saturate; points still right get the "
            "overshoot once more",
            "runs image by image",
        ),
    ),
    Row(
        "EADEN",
        ("L2", "L1"),
        budget="minimum-norm",
        radius=None,
        positive_logits=True,
        call=special.apart_with_kappa,
        checks=(special.ten_iterations,),
        notes=(notes.ALONE, notes.OUTSIDE, notes.POSITIVE, notes.STOPS, "with kappa it runs image by image"),
    ),
    # L1 and L0
    Row(
        "EADL1",
        ("L1",),
        budget="minimum-norm",
        radius=None,
        positive_logits=True,
        call=special.apart_with_kappa,
        checks=(special.ten_iterations,),
        notes=(notes.ALONE, notes.OUTSIDE, notes.POSITIVE, notes.STOPS, "with kappa it runs image by image"),
    ),
    Row(
        "FAB",
        ("Linf", "L2"),
        budget="minimum-norm",
        targeted=False,
        settings=special.whole_range,
        notes=(
            notes.ALONE,
            notes.RESTART,
            notes.SEED,
            "norm L1 fails inside the library; its targeted mode attacks nothing and is not offered",
            "n_classes, for multi_targeted, is at most the classifier's number of classes",
        ),
    ),
    Row(
        "SparseFool",
        ("L0",),
        budget="minimum-norm",
        targeted=False,
        radius=None,
        notes=(notes.ALONE, notes.OUTSIDE, "runs image by image"),
    ),
    Row(
        "JSMA",
        ("L0",),
        budget="minimum-norm",
        radius=None,
        aim=special.next_class,
        checks=(special.saliency_fits,),
        usability="degraded",
        reason="always targeted: without `target`, at the class after the true one",
        notes=(notes.ALONE, "memory and time grow with the square of the number of features"),
    ),
    Row(
        "OnePixel",
        ("L0",),
        budget="minimum-norm",
        access="black-box",
        radius=None,
        images=True,
        notes=(notes.ALONE, "changes at most `pixels` pixels in all their channels"),
    ),
    Row(
        "Pixle",
        ("L0",),
        budget="minimum-norm",
        access="black-box",
        radius=None,
        images=True,
        checks=(special.square_images,),
        call=special.one_by_one,
        notes=(
            notes.ALONE,
            "rearranges pixels until the prediction changes, and does not look for the fewest",
        ),
    ),
    # Not possible here
    Row(
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
