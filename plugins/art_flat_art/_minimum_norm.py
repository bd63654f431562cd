"""Minimum-norm attacks of ART; they run once for all δ."""

from __future__ import annotations

from dataclasses import replace

from . import _quirks as quirks
from . import _runners as runners
from ._compat import quiet_seeded_states, seeded_states
from ._spec import ArtSpec
from ._view import COLUMN

_NEAREST = ArtSpec("", ("L2",), budget="minimum-norm")
_START = "starts from an image of the batch where no random image has another class, and always if there is a target"
_DECISION = replace(_NEAREST, access="black-box", predicted=True)

MINIMUM_NORM: tuple[ArtSpec, ...] = (
    replace(_NEAREST, name="CarliniL2Method"),
    replace(
        _NEAREST,
        name="CarliniLInfMethod",
        norms=("Linf",),
        targeted=False,
        notes=(
            "its targeted mode takes any flip for a success (carlini.py:801), so it is not offered",
            "ART's default learning_rate and max_iter barely move a point",
        ),
    ),
    replace(
        _NEAREST,
        name="CarliniL0Method",
        norms=("L0",),
        layout=COLUMN,
        run=runners.one_by_one,
        hidden=("mask",),
        usability="degraded",
        reason="one L2 attack for every input value that it fixes: minutes for a 28×28 image",
        notes=(
            "ART fixes as many values as its input has channels; it is shown one value per channel, so that it can "
            "fix all of them",
        ),
    ),
    replace(
        _NEAREST,
        name="DeepFool",
        predicted=True,
        notes=(
            quirks.FLEES,
            "its overshoot `epsilon` of 1e-6 leaves points on the boundary; 0.02 is usual",
            "with more than nb_grads classes, those it considers depend on the batch",
        ),
    ),
    replace(_NEAREST, name="ElasticNet", norms=("L1", "L2")),
    replace(
        _NEAREST,
        name="NewtonFool",
        predicted=True,
        probabilities=True,
        classes=3,
        notes=(
            quirks.FLEES,
            "does not stop at the first flip",
            "its steps end where the class's probability is 1/k (newtonfool.py:147), which for two classes is the "
            "boundary itself, so it needs three",
        ),
    ),
    replace(
        _NEAREST,
        name="SaliencyMapMethod",
        norms=("L0",),
        targeted=True,
        labels="wrong",
        notes=(quirks.WRONG_CLASS, "with theta > 0 it only ever raises values", quirks.UNIT),
    ),
    replace(
        _DECISION,
        name="HopSkipJump",
        norms=("L2", "Linf"),
        run=runners.from_images,
        around=seeded_states,
        notes=(quirks.FLEES, _START, quirks.UNSEEDED),
    ),
    replace(
        _DECISION,
        name="BoundaryAttack",
        run=runners.from_images,
        around=seeded_states,
        notes=(
            quirks.FLEES,
            quirks.UNTARGETED,
            _START,
            quirks.UNSEEDED,
        ),
    ),
    replace(
        _DECISION,
        name="SignOPTAttack",
        classes=3,
        targeted=False,
        hidden=("eval_perform",),
        notes=(
            quirks.FLEES,
            "its targeted search takes the wrong half of the line (sign_opt.py:274), so it is not offered; untargeted "
            "by default, unlike in ART",
        ),
    ),
    replace(
        _NEAREST,
        name="ZooAttack",
        access="black-box",
        run=runners.coordinatewise,
        defaults={"use_resize": False},
        notes=(
            "clips the perturbation itself to the range (zoo.py:566), so that it only ever raises values",
            "ART's use_resize=True blurs images smaller than 32×32; the default here is False",
            "at most as many coordinates in parallel as the input has values",
        ),
    ),
    replace(
        _NEAREST,
        name="BrendelBethgeAttack",
        norms=("L2", "Linf", "L1", "L0"),
        targeted=False,
        run=runners.one_by_one,
        needs="numba",
        around=quiet_seeded_states,
        notes=(
            "ART couples the points of a batch, so it is shown one at a time",
            quirks.UNSEEDED,
            "a point for which no random image of another class is found is marked failed",
        ),
    ),
)
"""One specification per attack."""
