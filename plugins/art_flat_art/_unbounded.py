"""Attacks of ART without a norm ball, and attacks that cannot be used."""

from __future__ import annotations

from dataclasses import replace

from . import _quirks as quirks
from . import _runners as runners
from ._compat import old_numpy
from ._spec import ArtSpec
from ._view import CHANNELS_LAST

_OTHER = ArtSpec("", quirks.ANY, budget="none", images=True)
UNBOUNDED: tuple[ArtSpec, ...] = (
    replace(
        _OTHER,
        name="SimBA",
        access="black-box",
        probabilities=True,
        hidden=("batch_size",),
        checks=(quirks.dct_fits,),
        notes=("stops at the first flip, however far; max_iter steps of length epsilon", quirks.UNIT),
    ),
    replace(
        _OTHER,
        name="SpatialTransformation",
        access="black-box",
        predicted=True,
        layout=CHANNELS_LAST,
        run=runners.one_by_one,
        defaults={"max_translation": 10.0, "num_translations": 5, "max_rotation": 30.0, "num_rotations": 7},
        notes=(
            quirks.FLEES,
            "ART's own defaults move nothing; here up to 10 % of the side and 30 degrees",
            "ART takes channels for rows and one transformation for the whole batch; it is shown one image at a "
            "time, channels last, so that it searches both directions and every image gets its own",
        ),
    ),
    replace(
        _OTHER,
        name="Wasserstein",
        run=runners.one_by_one,
        hidden=("norm",),
        usability="degraded",
        reason="its exponentials overflow on steep losses (wasserstein.py:388); such points are marked failed",
        notes=(
            "its ball is a Wasserstein ball of radius eps that grows by eps_factor until the point flips",
            quirks.UNIT,
        ),
    ),
    replace(
        _OTHER,
        name="ShadowAttack",
        targeted=True,
        labels="wrong",
        run=runners.one_by_one,
        defaults={"batch_size": 400},
        notes=(
            quirks.WRONG_CLASS,
            "large smooth perturbations; batch_size is the number of noisy copies of one image",
            quirks.UNIT,
        ),
    ),
    replace(
        _OTHER,
        name="AdversarialPatchPyTorch",
        run=runners.patched,
        hidden=("patch_shape", "patch_location"),
        defaults={"learning_rate": 0.1},
        extra={"scale": 0.5},
        notes=(
            "one patch for the whole batch, as wide as the image, put on every image at `scale` (of apply_patch)",
            quirks.ONE_BATCH,
            "ART's learning rate 5.0 is meant for [0, 255]; the default here is 0.1, in units of [0, 1]",
        ),
    ),
    replace(
        _OTHER,
        name="LaserAttack",
        access="black-box",
        layout=CHANNELS_LAST,
        probabilities=True,
        run=runners.laser,
        around=old_numpy,
        hidden=("laser_generator", "image_generator", "optimisation_algorithm", "debug"),
        extra={
            "iterations": 50,
            "max_laser_beam": (780.0, 3.14, 32.0, 32),
            "min_laser_beam": (380.0, 0.0, 1.0, 1),
        },
        checks=(quirks.three_channels,),
        notes=(
            "a coloured line (wavelength, angle, offset, width); np.asfarray, which it needs, left NumPy with "
            "version 2 and is patched in while it runs",
        ),
    ),
    replace(
        _OTHER,
        name="CompositeAdversarialAttackPyTorch",
        needs="kornia",
        checks=(quirks.three_channels,),
        notes=(
            "hue, saturation, rotation, brightness, contrast and an L∞ step, in an order that it searches",
            quirks.ONE_BATCH,
            quirks.UNIT,
        ),
    ),
)
"""One specification per attack."""

_VARIANT = "is a part of art:{}, which uses it where it fits"
_PATCH = "use art:AdversarialPatchPyTorch; "

_STICKER = "plans stickers for a photographed object, for which it needs the package cv2; "

REFUSED: dict[str, str] = {
    "GeoDA": "np.mat, removed in NumPy 2 (geometric_decision_based_attack.py:160); it also writes a file into the "
    "working directory and may search its first point without end",
    "GRAPHITEWhiteboxPyTorch": _STICKER
    + "on small images it does not end: it goes on removing stickers after the "
    "last one, and keeps the graph of every step in memory",
    "GRAPHITEBlackbox": _STICKER + "it also needs the image of another object",
    "AdversarialPatchNumpy": _PATCH
    + "its first patch is never made on NumPy 2, where a float32 is not a float "
    "(adversarial_patch_numpy.py:619)",
    "AdversarialPatch": _PATCH + "it only chooses between the others",
    "AdversarialPatchTensorFlowV2": _PATCH + "this one needs TensorFlow",
    "FeatureAdversariesNumpy": "use art:FeatureAdversariesPyTorch; this one takes minutes per image (L-BFGS with "
    "numeric gradients)",
    "FeatureAdversariesTensorFlowV2": "use art:FeatureAdversariesPyTorch; this one needs TensorFlow",
    "ProjectedGradientDescentNumpy": _VARIANT.format("ProjectedGradientDescent"),
    "ProjectedGradientDescentPyTorch": _VARIANT.format("ProjectedGradientDescent"),
    "ProjectedGradientDescentTensorFlowV2": _VARIANT.format("ProjectedGradientDescent"),
    "AdversarialTexturePyTorch": "attacks object trackers on videos",
    "CarliniWagnerASR": "attacks speech recognition",
    "ImperceptibleASR": "attacks speech recognition",
    "ImperceptibleASRPyTorch": "attacks speech recognition",
    "DPatch": "attacks object detectors",
    "RobustDPatch": "attacks object detectors",
    "OverloadPyTorch": "attacks object detectors",
    "SNAL": "attacks object detectors",
    "OverTheAirFlickeringPyTorch": "attacks video classifiers",
    "MalwareGDTensorFlow": "attacks malware detectors",
    "DecisionTreeAttack": "attacks decision trees, which have no linear head",
    "HighConfidenceLowUncertainty": "attacks Gaussian processes, which have no linear head",
    "LowProFool": "attacks tables with weighted columns, not images",
}
"""Name → reason why it cannot be used."""
