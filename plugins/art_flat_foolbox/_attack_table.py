"""Specifications of the attacks of foolbox 3.3."""

from __future__ import annotations

from dataclasses import replace

from art_flat.typing import Norm

from ._spec import FoolboxSpec

_ANY: tuple[Norm, ...] = ("L2", "Linf", "L1", "L0")
_ASCENT = FoolboxSpec("", ("Linf",), maximises_loss=True)
_NOISE = FoolboxSpec(
    "", ("L2",), access="none", targeted=False, notes=("control: random noise of size delta",)
)
_REPEATED = replace(
    _NOISE,
    access="black-box",
    notes=("control: up to `repeats` random points of size delta, the first wrong one is kept",),
)
_CORRUPTION = FoolboxSpec("", _ANY, access="black-box", targeted=False)
_BB = FoolboxSpec(
    "", ("L2",), starts=True, needs="numba", notes=("moves along the boundary with exact gradients",)
)
_FMN = FoolboxSpec(
    "", ("L2",), notes=("a step towards the boundary, then a projection onto a ball of adapted size",)
)
_FLEES = "leaves the true class; misclassified points are left unchanged"


def _steps(norm: Norm) -> tuple[FoolboxSpec, ...]:
    single = replace(_ASCENT, name=f"{norm}FastGradientAttack", norms=(norm,), targeted=False)
    names = (
        *("BasicIterativeAttack", "ProjectedGradientDescentAttack", "MomentumIterativeFastGradientMethod"),
        *("AdamBasicIterativeAttack", "AdamProjectedGradientDescentAttack"),
    )
    return (single, *(replace(_ASCENT, name=f"{norm}{name}", norms=(norm,)) for name in names))


ROWS: tuple[FoolboxSpec, ...] = (
    *_steps("Linf"),
    *_steps("L2"),
    *_steps("L1"),
    replace(
        _ASCENT,
        name="SparseL1DescentAttack",
        norms=("L1",),
        notes=("steps along the largest gradient values",),
    ),
    FoolboxSpec(
        "VirtualAdversarialAttack",
        ("L2",),
        targeted=False,
        defaults_here={"steps": 5},
        notes=("one step of length delta; the library has no default for `steps`, here it is 5",),
    ),
    FoolboxSpec(
        "L2ContrastReductionAttack", ("L2",), access="none", targeted=False, notes=("control: towards grey",)
    ),
    replace(_NOISE, name="L2AdditiveGaussianNoiseAttack"),
    replace(_NOISE, name="L2AdditiveUniformNoiseAttack"),
    replace(_NOISE, name="L2ClippingAwareAdditiveGaussianNoiseAttack"),
    replace(_NOISE, name="L2ClippingAwareAdditiveUniformNoiseAttack"),
    replace(_NOISE, name="LinfAdditiveUniformNoiseAttack", norms=("Linf",)),
    replace(_REPEATED, name="L2RepeatedAdditiveGaussianNoiseAttack"),
    replace(_REPEATED, name="L2RepeatedAdditiveUniformNoiseAttack"),
    replace(_REPEATED, name="L2ClippingAwareRepeatedAdditiveGaussianNoiseAttack"),
    replace(_REPEATED, name="L2ClippingAwareRepeatedAdditiveUniformNoiseAttack"),
    replace(_REPEATED, name="LinfRepeatedAdditiveUniformNoiseAttack", norms=("Linf",)),
    FoolboxSpec("L2CarliniWagnerAttack", ("L2",)),
    FoolboxSpec("EADAttack", ("L1",)),
    FoolboxSpec("DDNAttack", ("L2",)),
    FoolboxSpec(
        "NewtonFoolAttack",
        ("L2",),
        targeted=False,
        notes=("divides by the gradient of a probability; samples where that underflows are failed",),
    ),
    FoolboxSpec("L2DeepFoolAttack", ("L2",), targeted=False, notes=(_FLEES,)),
    FoolboxSpec("LinfDeepFoolAttack", ("Linf",), targeted=False, notes=(_FLEES,)),
    replace(_FMN, name="L0FMNAttack", norms=("L0",)),
    replace(_FMN, name="L1FMNAttack", norms=("L1",)),
    replace(_FMN, name="L2FMNAttack"),
    replace(_FMN, name="LInfFMNAttack", norms=("Linf",)),
    replace(_BB, name="L0BrendelBethgeAttack", norms=("L0",)),
    replace(_BB, name="L1BrendelBethgeAttack", norms=("L1",)),
    replace(_BB, name="L2BrendelBethgeAttack"),
    replace(_BB, name="LinfinityBrendelBethgeAttack", norms=("Linf",)),
    FoolboxSpec("BoundaryAttack", ("L2",), access="black-box", targeted=False, starts=True),
    FoolboxSpec("HopSkipJumpAttack", ("L2", "Linf"), access="black-box", targeted=False, starts=True),
    FoolboxSpec("PointwiseAttack", ("L0", "L2"), access="black-box", targeted=False, starts=True),
    replace(_CORRUPTION, name="GaussianBlurAttack", images=True),
    replace(_CORRUPTION, name="BinarySearchContrastReductionAttack"),
    replace(_CORRUPTION, name="LinearSearchContrastReductionAttack"),
    replace(_CORRUPTION, name="LinearSearchBlendedUniformNoiseAttack"),
    replace(_CORRUPTION, name="InversionAttack", access="none"),
    replace(_CORRUPTION, name="SaltAndPepperNoiseAttack", norms=("L2",), images=True),
    FoolboxSpec("SpatialAttack", _ANY, access="black-box", targeted=False, images=True),
    FoolboxSpec(
        "GenAttack", ("Linf",), refusal="attacks towards a target only, with arguments for single images"
    ),
    FoolboxSpec(
        "DatasetAttack", ("L2",), refusal="returns images of a data set, which an attack is not given"
    ),
    FoolboxSpec(
        "BinarizationRefinementAttack",
        ("L2",),
        refusal="refines another attack's points for binarised inputs",
    ),
)
