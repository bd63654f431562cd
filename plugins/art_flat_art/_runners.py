"""Calls of ART attacks that cannot process a whole batch in the standard way."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from art.attacks import evasion
from art.attacks.evasion.laser_attack.laser_attack import LaserBeamAttack

from ._spec import ArtCall
from ._view import SHARD

STEP_ATTACKS = ("fgsm", "bim", "pgd")


def one_by_one(call: ArtCall) -> np.ndarray:
    """A new attack for every point; a point at which the library raises an error becomes NaN, hence failed."""
    points_adv = np.full_like(call.x, np.nan)
    for i in range(len(call.x)):
        attack = call.attack(**_single_batch(call))
        try:
            points_adv[i] = attack.generate(call.x[i : i + 1], y=call.y[i : i + 1])[0]
        except (ArithmeticError, AssertionError, IndexError, ValueError) as error:
            warnings.warn(f"point {i}: {error}", RuntimeWarning, stacklevel=2)
    return points_adv


def ensemble(call: ArtCall) -> np.ndarray:
    """Run the ensemble without the progress bars of its inner attacks."""
    attack = call.attack()
    for inside in attack.attacks:
        inside.verbose = False
    return np.asarray(attack.generate(call.x, y=call.y))


def universal(call: ArtCall) -> np.ndarray:
    """One perturbation for all points; the radius is passed to the inner attack."""
    attacker, inner_params = call.params["attacker"], call.params["attacker_params"] or {}
    inside: dict[str, Any] = {} if attacker == "fgsm" else {"verbose": False}
    if attacker in STEP_ATTACKS:
        inside |= {"eps": call.delta, "norm": call.norm}
        inside["eps_step"] = 2.5 * (call.delta or 0) / inner_params.get("max_iter", 100)
    return np.asarray(call.attack(attacker_params={**inside, **inner_params}).generate(call.x, y=call.y))


def universal_targeted(call: ArtCall) -> np.ndarray:
    """One perturbation towards one class: the target, or the most common wrong class if untargeted.

    ART leaves the inner attack untargeted, so that it moves away from the target; here it is targeted.

    Returns:
        Points in ART's layout.
    """
    y = call.y
    if call.target is None:
        wanted = y.argmax(axis=1)
        common = np.bincount(wanted).argmax()
        y = np.eye(y.shape[1], dtype=np.float32)[np.where(call.label == common, wanted, common)]
    inside = {
        "eps": call.delta,
        "norm": call.norm,
        "targeted": True,
        **(call.params["attacker_params"] or {}),
    }
    return np.asarray(call.attack(attacker_params=inside).generate(call.x, y=y))


def from_images(call: ArtCall) -> np.ndarray:
    """Start from an image of the batch: where random starts failed, and always for a targeted attack."""
    points_adv = np.array(call.x)
    is_unchanged = np.ones(len(points_adv), dtype=bool)
    if call.target is None:
        points_adv = np.asarray(call.attack().generate(call.x, y=call.y))
        is_unchanged = (points_adv == call.x).reshape(len(points_adv), -1).all(axis=1)
    if is_unchanged.any():
        rest = call.some(is_unchanged)
        points_adv[is_unchanged] = rest.attack().generate(rest.x, y=rest.y, x_adv_init=starting_points(rest))
    return points_adv


def towards_starting_points(call: ArtCall) -> np.ndarray:
    """Approach the outputs of the nearest image of the batch with another class (or the target class)."""
    return np.asarray(call.attack().generate(call.x, y=starting_points(call)))


def frame_by_frame(call: ArtCall) -> np.ndarray:
    """Run frame by frame, with gradient descent in the same ball as the inner attack."""
    steps, size = call.params["max_iter"], len(call.x)
    inside = evasion.ProjectedGradientDescent(
        call.view,
        norm=call.norm,
        eps=call.delta,
        eps_step=2.5 * (call.delta or 0) / steps,
        max_iter=steps,
        targeted=call.target is not None,
        batch_size=size,
        verbose=False,
    )
    return np.asarray(call.attack(attacker=inside).generate(call.x, y=call.y))


def patched(call: ArtCall) -> np.ndarray:
    """Train one patch on all points, then apply it to each."""
    channels, height, width = call.x.shape[1:]
    side = min(height, width)
    attack = call.attack(patch_shape=(channels, side, side))
    attack.generate(call.x, y=call.y)
    return np.asarray(attack.apply_patch(call.x, scale=call.params["scale"]))


def coordinatewise(call: ArtCall) -> np.ndarray:
    """One point at a time; ART refuses more coordinates in parallel than there are."""
    parallel = min(call.params["nb_parallel"], call.x[0].size)
    return one_by_one(replace(call, arguments={**call.arguments, "nb_parallel": parallel}))


def laser(call: ArtCall) -> np.ndarray:
    """A laser beam of any colour, with true classes as indices."""
    names = ("iterations", "max_laser_beam", "min_laser_beam", "random_initializations")
    attack = LaserBeamAttack(call.view, **{name: call.params[name] for name in names})
    return np.asarray(attack.generate(call.x, y=call.label))


def starting_points(call: ArtCall) -> np.ndarray:
    """For every point, the nearest one of the batch that is predicted as its target or as another class.

    Args:
        call: The call of the attack.

    Returns:
        Images of the shape of `call.x`; the point itself if there is none.
    """
    predicted = np.asarray(call.view.predict(call.pool, batch_size=SHARD).argmax(axis=1))
    fits = predicted != call.label[:, None] if call.target is None else predicted == call.target[:, None]
    points, pool = (torch.from_numpy(a.reshape(len(a), -1)) for a in (call.x, call.pool))
    distances = torch.cdist(points, pool, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    distances[~fits | (distances == 0)] = np.inf
    nearest = call.pool[distances.argmin(axis=1)]
    nearest[np.isinf(distances).all(axis=1)] = call.x[np.isinf(distances).all(axis=1)]
    return np.asarray(nearest)


def _single_batch(call: ArtCall) -> dict[str, int]:
    """A batch size of one, if the attack has that parameter and it was not set."""
    return {"batch_size": 1} if call.params.get("batch_size", 0) is None else {}
