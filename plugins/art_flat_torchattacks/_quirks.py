"""Checks and workarounds for single attacks of torchattacks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torchattacks

from art_flat.attacks import load_attack
from art_flat.attacks.checks import CheckContext
from art_flat.errors import AttackNotUsableError, InputError
from art_flat.functional import project

from ._attack import TorchattacksAttack
from ._spec import Setup, whole_batch

JSMA_FEATURES = 12_288
"""Maximum number of features for JSMA, whose maps of features × features take gigabytes above it."""


# Checks: each raises if the attack cannot run


def four_classes(case: CheckContext) -> None:
    """Require four classes: the targeted DLR loss uses the four largest logits."""
    case.require_classes(4, "the targeted DLR loss")


def three_classes_for_dlr(case: CheckContext) -> None:
    """Require three classes: the DLR loss uses the three largest logits."""
    if case.params["loss"] == "dlr":
        case.require_classes(3, 'loss="dlr"')


def classes_of_version(case: CheckContext) -> None:
    """Require the classes of AutoAttack's DLR losses: untargeted (rand), or also targeted (standard, plus)."""
    version = case.params["version"]
    case.require_classes(3 if version == "rand" else 4, f"version={version!r}")


def one_or_three_channels(case: CheckContext) -> None:
    """Require one or three channels: the library's kernels have three; one channel is repeated."""
    if case.image[0] not in {1, 3}:
        case.refuse(f"its kernels are for 3 channels (1 is shown as 3), the classifier takes {case.image[0]}")


def square_images(case: CheckContext) -> None:
    """Require square images: the library uses one side for both."""
    _, height, width = case.image
    if height != width:
        case.refuse(f"it takes height for width, and the images are {height}×{width}")


def shrinking_resize(case: CheckContext) -> None:
    """Require a resize that shrinks: input diversity pads back to the width of square images.

    Raises:
        InputError: If `resize_rate` does not make them smaller.
    """
    square_images(case)
    rate, side = case.params["resize_rate"], case.image[2]
    if not 0 < int(side * rate) < side:
        raise InputError(
            f"{case.name}: `resize_rate` must shrink images of side {side} by at least one pixel, so that "
            f"they can be padded back to the classifier's size; got {rate!r}"
        )


def window_fits(case: CheckContext) -> None:
    """Require that Square's L2 windows fit into the image; its first pattern needs five pixels per side."""
    _, height, width = case.image
    window = max(5, round(math.sqrt(case.params.get("p_init", 0.8) * height * width)) | 1)
    if case.norm == "L2" and min(height, width) < window:
        case.refuse(f"in L2 its window of {window} pixels does not fit into images of {height}×{width}")


def saliency_fits(case: CheckContext) -> None:
    """Limit the number of features: JSMA builds maps of features × features."""
    features = math.prod(case.net.input_shape)
    if features > JSMA_FEATURES:
        case.refuse(
            f"it builds maps of features × features; {features} features are more than {JSMA_FEATURES}"
        )


def ten_iterations(case: CheckContext) -> None:
    """Require ten iterations: EAD compares losses every max_iterations // 10 iterations.

    Raises:
        InputError: If that is every 0 iterations.
    """
    iterations = case.params["max_iterations"]
    if case.params["abort_early"] and iterations < 10:
        raise InputError(
            f"{case.name}: `max_iterations` must be at least 10 with abort_early, got {iterations!r}"
        )


def inner_attacks_fit(case: CheckContext) -> None:
    """Require that every attack inside MultiAttack accepts the classifier and the norm."""
    for inner in inner_attacks(case.params["attacks"]):
        if case.norm not in inner.info.norms:
            case.refuse(f"{inner.name} inside it does not support the norm {case.norm}")
        inner.check(case.net, case.norm)


# Constructors and settings


def inner_attacks(names: Any) -> list[TorchattacksAttack]:
    """Return the inner attacks of MultiAttack, from names with or without the library prefix.

    Raises:
        InputError: If they are fewer than two, or one cannot run inside MultiAttack.
    """
    if not isinstance(names, (list, tuple)) or len(names) < 2:
        raise InputError(f"torchattacks:MultiAttack: `attacks` must list at least two attacks, got {names!r}")
    inner_list = []
    for name in names:
        attack = load_attack(name if str(name).startswith("torchattacks:") else f"torchattacks:{name}")
        if not isinstance(attack, TorchattacksAttack) or not attack.row.plain:
            raise InputError(
                f"torchattacks:MultiAttack: {attack.name} cannot run inside it; list attacks with a fixed "
                "budget that need no special view of the classifier, such as PGD and Square"
            )
        inner_list.append(attack)
    return inner_list


def several(setup: Setup, name: str, settings: Mapping[str, Any]) -> Any:
    """Return MultiAttack around the objects of its inner attacks, all on one view of the classifier."""
    inner = [a.library_attack(setup.with_params(a.settings)) for a in inner_attacks(settings["attacks"])]
    return getattr(torchattacks, name)(inner)


def classes_to_target(setup: Setup) -> dict[str, Any]:
    """Return the number of classes to try, at most that of the classifier."""
    return {"n_classes": min(setup.params["n_classes"], setup.problem.net.nb_classes)}


def whole_range(setup: Setup) -> dict[str, Any]:
    """Return an eps that no point of the range exceeds: FAB returns only points within it."""
    features = setup.start[0].numel()
    return {"eps": 1.0 if setup.problem.norm == "Linf" else math.sqrt(features), **classes_to_target(setup)}


def noise_of_size(setup: Setup) -> dict[str, Any]:
    """Return the standard deviation that makes Gaussian noise as large as δ, unless it is given."""
    features = setup.start[0].numel()
    if setup.params["std"] is not None:
        return {"std": setup.params["std"]}
    if setup.radius is None:
        return {"std": 0.1}
    shares = {"Linf": 1.0, "L2": math.sqrt(features), "L1": features * math.sqrt(2 / math.pi)}
    return {"std": setup.radius / shares[setup.problem.norm]}


def published_steps(attack: Any, setup: Setup) -> None:
    """Set the requested number of steps and queries of AutoAttack's inner attacks."""
    for inner in attack._autoattack.attacks:
        for key in ("steps", "n_queries"):
            if hasattr(inner, key):
                setattr(inner, key, setup.params[key])


# Around the library's run


def inside_range(images: torch.Tensor) -> torch.Tensor:
    """Return images clamped away from 0 and 1, where tanh has no gradient."""
    return images.clamp(1e-3, 1 - 1e-3)


def target_unless_dlr(setup: Setup) -> torch.Tensor | None:
    """Return the target of the call; the library's targeted DLR loss also uses it as the true label.

    Raises:
        AttackNotUsableError: If there is a target and the loss is "dlr".
    """
    if setup.problem.target is not None and setup.params["loss"] == "dlr":
        raise AttackNotUsableError(
            'torchattacks:UPGD cannot be used with `target` and loss="dlr": the library takes the target for '
            'the true label too, and the loss is always 0; use loss="ce"'
        )
    return setup.problem.target


def next_class(setup: Setup) -> torch.Tensor:
    """Return the target of the call, or the class after the true one."""
    target = setup.problem.target
    return (setup.problem.y + 1) % setup.problem.net.nb_classes if target is None else target


def nearest_over_classes(setup: Setup, attack: Any, labels: torch.Tensor) -> torch.Tensor:
    """Return FAB's points; with `multi_targeted` the nearest over the classes.

    The library's own loop over the classes leaves out samples that have a point within eps, here the whole range, so
    that each would be attacked at one class alone.
    """
    if not setup.params["multi_targeted"]:
        return whole_batch(setup, attack, labels)
    nearest = setup.start.clone()
    shortest = torch.full(labels.shape, math.inf, device=nearest.device)
    order = math.inf if setup.problem.norm == "Linf" else 2.0
    with torch.no_grad():
        for rank in range(2, attack.n_target_classes + 2):
            attack.target_class = rank  # of the class among the clean logits
            for restart in range(attack.n_restarts):
                points = attack.attack_single_run_targeted(setup.start, labels, use_rand_start=restart > 0)
                length = torch.linalg.vector_norm((points - setup.start).flatten(1), order, dim=1)
                is_nearer = (attack.get_logits(points).argmax(dim=1) != labels) & (length < shortest)
                nearest[is_nearer], shortest[is_nearer] = points[is_nearer], length[is_nearer]
    return nearest


def one_by_one(setup: Setup, attack: Any, labels: torch.Tensor) -> torch.Tensor:
    """Return the library's points, computed image by image."""
    pairs = zip(setup.start.split(1), labels.split(1), strict=True)  # type: ignore[no-untyped-call]
    return torch.cat([attack(image, label) for image, label in pairs])


def one_by_one_with_kappa(setup: Setup, attack: Any, labels: torch.Tensor) -> torch.Tensor:
    """Return the library's points; one by one with a margin kappa, since EAD then mixes up the labels of a batch."""
    return (one_by_one if setup.params["kappa"] else whole_batch)(setup, attack, labels)


@torch.no_grad()
def pushed_over(setup: Setup, points: torch.Tensor) -> torch.Tensor:
    """Return the points; those still correctly classified move on along their direction by the overshoot."""
    right = setup.view(points).argmax(dim=1) == setup.problem.y
    further = setup.start + (1 + setup.params["overshoot"]) * (points - setup.start)
    return torch.where(right[:, None, None, None], further.clamp(0, 1), points)


def into_ball(setup: Setup, points: torch.Tensor) -> torch.Tensor:
    """Return the noise, scaled down to δ where it is larger."""
    return points if setup.radius is None else project(setup.start, points, setup.radius, setup.problem.norm)
