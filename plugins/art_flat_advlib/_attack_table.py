"""Specifications of the attacks of adv-lib 0.2.8."""

from __future__ import annotations

from dataclasses import replace

from art_flat.typing import Norm

from . import _quirks as quirks
from ._spec import AdvLibSpec

_ALL: tuple[Norm, ...] = ("L2", "Linf", "L1", "L0")
_LAST = "the point after its last update is never evaluated: n steps try the clean point and n - 1 others"
_STALLS = "a sample whose gradient is 0 is left where it is"
_OPEN = "misclassified samples are left unchanged"
_HALVES = (
    "from its second check on the library compares the best loss with itself, so that the step size is halved more "
    "often than published"
)
_APGD = AdvLibSpec(
    "",
    "",
    ("Linf", "L2", "L1"),
    norm_parameter="norm",
    radius="eps",
    counts=("n_iter", "n_restarts", "eot_iter"),
    repaired=quirks.counts_its_steps,
)


def _elsewhere(function: str, norms: tuple[Norm, ...], where: str) -> AdvLibSpec:
    return AdvLibSpec(function, function, norms, refusal=f"not offered from adv-lib; use {where}")


ROWS: tuple[AdvLibSpec, ...] = (
    AdvLibSpec(
        "DDN",
        "ddn",
        ("L2",),
        counts=("steps", "levels"),
        defaults_here={"levels": None},
        notes=(
            "levels is None here: the library's 256 rounds points to the 8-bit grid of [0, 1], which moves every value "
            "of inputs that are not on it",
            "where the gradient is 0 it draws a direction whose length is not 1 but about the root of the number of "
            "features",
            _LAST,
        ),
    ),
    AdvLibSpec(
        "FMN",
        "fmn",
        _ALL,
        norm_parameter="norm",
        counts=("steps",),
        hidden=("starting_points", "binary_search_steps"),
        repaired=quirks.keeps_one_value,
        notes=(
            "the library's 10 steps are few: it is published with 1000",
            "finds nothing for samples whose clipped steps fall short of the boundary, in L2 and L1 often; a larger "
            "alpha_init helps",
            "in L0 the library fails where one changed value suffices for all samples of a batch; here it does not",
            _STALLS,
            _LAST,
        ),
    ),
    AdvLibSpec(
        "ALMA",
        "alma",
        ("L2", "L1"),
        norm_parameter="distance",
        counts=("num_steps", "check_steps", "levels"),
        defaults_here={"penalty": "P2"},
        checks=(quirks.known_penalty, quirks.three_classes),
        settings=quirks.alma_arguments,
        repaired=quirks.ends_in_the_range,
        notes=(
            "init_lr_distance, the length of its first step, is the parameter to set: published with 0.1 in L2, 0.5 in "
            "L1; where the range ends before it, the library's search for the step size never ends, and here it does",
            "towards a target the library counts points as found that are still up to logit_tolerance short of it; "
            "here they must be beyond",
            "needs three classes, with targets four",
            _STALLS,
            _LAST,
        ),
    ),
    AdvLibSpec(
        "PDGD",
        "pdgd",
        ("L2",),
        counts=("num_steps",),
        checks=(quirks.two_steps,),
        notes=(_STALLS, _LAST),
    ),
    AdvLibSpec(
        "PDPGD",
        "pdpgd",
        _ALL,
        norm_parameter="norm",
        counts=("num_steps", "proximal_steps"),
        checks=(quirks.two_steps, quirks.known_operator),
        notes=(
            "in L0 proximal_operator=23, that of the L2/3 norm, changes fewer values than the norm's own, which "
            "keeps or drops all channels of a pixel",
            "proximal_operator=23 sets some large values to 0, since a root of rounding errors below 0 is NaN",
            _STALLS,
            _LAST,
        ),
    ),
    AdvLibSpec(
        "TR",
        "tr",
        ("L2", "Linf"),
        targeted=False,
        norm_parameter="p",
        counts=("iter", "c"),
        notes=(
            "without adaptive=True a point moves at most iter (eps + 1e-4) 1.02, by default 0.11, in units of the clip "
            "range: too little for most samples in L2",
            "adaptive=True compares the fall of the logit with 0.5 and 0.9 per unit of length: where logits change "
            "slower, its steps become the shortest, 0.0005 in L2 and 0.0001 in Linf",
            "returns its first wrong point",
            "the library fails on views of tensors and leaves requires_grad set on them; here it gets copies",
            _STALLS,
            _OPEN,
        ),
    ),
    AdvLibSpec(
        "VFGA",
        "vfga",
        ("L0",),
        counts=("max_iter", "n_samples"),
        notes=(
            "changes value after value until the prediction changes, and returns that point",
            "where the softmax is exactly 1 in float32 its gradient is 0, and it tries the values in their order: it "
            "then changes many values, or none in many passes",
            _OPEN,
        ),
    ),
    AdvLibSpec(
        "SigmaZero",
        "sigma_zero",
        ("L0",),
        targeted=False,
        counts=("num_steps",),
        notes=(
            "the library's sigma_zero; untargeted, for targets it would return the inputs",
            _STALLS,
            _LAST,
        ),
    ),
    AdvLibSpec(
        "SuperDeepFool",
        "sdf",
        ("L2",),
        targeted=False,
        counts=("steps", "df_steps"),
        notes=(
            "the library's sdf; a sample that it cannot fool costs steps · df_steps passes forward and as many times "
            "the number of other classes backward: 10,000 and 90,000 by default for ten classes",
            "its binary search ends at a point that was tried and is wrong",
            _OPEN,
        ),
    ),
    replace(
        _APGD,
        name="APGD",
        function="apgd",
        which="all",
        checks=(quirks.known_loss, quirks.classes_for_dlr, quirks.large_radii_in_l1),
        settings=quirks.targeted_dlr,
        notes=(
            "returns its last wrong point, or the clean one; with best_loss=True the point of the largest loss, which "
            'for loss_function="ce" maximises the cross-entropy',
            "with best_loss the library takes 100 steps regardless of n_iter; here n_iter",
            "a start that is wrong counts as found even where no later point is wrong: the clean one is returned then",
            _HALVES,
        ),
    ),
    replace(
        _APGD,
        name="APGDTargeted",
        function="apgd_targeted",
        targeted=False,
        counts=(*_APGD.counts, "num_targets"),
        checks=(quirks.known_loss, quirks.classes_for_targeted_dlr, quirks.large_radii_in_l1),
        settings=quirks.targets_that_exist,
        notes=(
            "the library's apgd_targeted: untargeted, by attacks towards each other class",
            "of misclassified samples the library attacks the true class too, and counts it as found; here they are "
            "left unchanged",
            "num_targets is at most the number of other classes",
            _HALVES,
        ),
    ),
    _elsewhere("carlini_wagner_l2", ("L2",), "art:CarliniL2Method or foolbox:L2CarliniWagnerAttack"),
    _elsewhere("carlini_wagner_linf", ("Linf",), "art:CarliniLInfMethod"),
    _elsewhere("df", ("L2", "Linf"), "advlib:SuperDeepFool, art:DeepFool or foolbox:L2DeepFoolAttack"),
    _elsewhere("fab", ("Linf", "L2", "L1"), "torchattacks:FAB"),
    _elsewhere("fga", ("L0",), "advlib:VFGA, which votes between its two signs"),
    _elsewhere("pgd_linf", ("Linf",), "art_flat:PGD"),
    AdvLibSpec("perc_al", "perc_al", ("L2",), refusal="minimises a distance between colours, not a norm"),
    AdvLibSpec("str_attack", "str_attack", ("L2",), refusal="minimises the norms of groups of pixels"),
)
