"""Attacks that look for the nearest point, and run once for all δ."""

from __future__ import annotations

from dataclasses import replace

from . import _rules as rules
from . import _runs as runs
from ._compat import quiet_seeded_states, seeded_states
from ._row import Row
from ._view import COLUMN

_NEAREST = Row("", ("L2",), budget="minimum-norm")
_START = "starts from an image of the batch where no random image has another class, and always if there is a target"
_DECISION = replace(_NEAREST, access="black-box", predicted=True)

NEAREST: tuple[Row, ...] = (
    replace(_NEAREST, name="CarliniL2Method"),
    replace(
        _NEAREST,
        name="CarliniLInfMethod",
        norms=("Linf",),
        targeted=False,
        notes=(
            "its targeted mode takes any flip for a success (carlini.py:801), so it is not offered",
            "ART's default learning_rate and max_iter hardly move a point",
        ),
    ),
    replace(
        _NEAREST,
        name="CarliniL0Method",
        norms=("L0",),
        layout=COLUMN,
        run=runs.one_by_one,
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
            rules.FLEES,
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
            rules.FLEES,
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
        notes=(rules.WRONG_CLASS, "with theta > 0 it only ever raises values", rules.UNIT),
    ),
    replace(
        _DECISION,
        name="HopSkipJump",
        norms=("L2", "Linf"),
        run=runs.from_images,
        around=seeded_states,
        notes=(rules.FLEES, _START, rules.UNSEEDED),
    ),
    replace(
        _DECISION,
        name="BoundaryAttack",
        run=runs.from_images,
        around=seeded_states,
        notes=(
            rules.FLEES,
            rules.UNTARGETED,
            _START,
            rules.UNSEEDED,
        ),
    ),
    replace(
        _DECISION,
        name="SignOPTAttack",
        classes=3,
        targeted=False,
        hidden=("eval_perform",),
        notes=(
            rules.FLEES,
            "its targeted search takes the wrong half of the line (sign_opt.py:274), so it is not offered; untargeted "
            "whatever ART's default",
        ),
    ),
    replace(
        _NEAREST,
        name="ZooAttack",
        access="black-box",
        run=runs.coordinatewise,
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
        run=runs.one_by_one,
        needs="numba",
        around=quiet_seeded_states,
        notes=(
            "ART couples the points of a batch, so it is shown one at a time",
            rules.UNSEEDED,
            "a point for which no random image of another class is found is marked failed",
        ),
    ),
)
"""One row per attack."""
