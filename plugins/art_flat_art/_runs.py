"""How the attacks are called that cannot be handed everything at once."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from art.attacks import evasion
from art.attacks.evasion.laser_attack.laser_attack import LaserBeamAttack

from ._attack import Call

STEP_ATTACKS = ("fgsm", "bim", "pgd")


def one_by_one(call: Call) -> np.ndarray:
    """A new attack for every point; a point at which the library breaks down is NaN, which art_flat calls failed."""
    found = np.full_like(call.x, np.nan)
    for i in range(len(call.x)):
        try:
            found[i] = call.attack(**_alone(call)).generate(call.x[i : i + 1], y=call.y[i : i + 1])[0]
        except (ArithmeticError, AssertionError, IndexError, ValueError) as error:
            warnings.warn(f"point {i}: {error}", RuntimeWarning, stacklevel=2)
    return found


def ensemble(call: Call) -> np.ndarray:
    """Without the progress bars of the attacks inside."""
    attack = call.attack()
    for inside in attack.attacks:
        inside.verbose = False
    return np.asarray(attack.generate(call.x, y=call.y))


def universal(call: Call) -> np.ndarray:
    """One perturbation for all points, with the radius handed on to the attack inside."""
    attacker, given = call.params["attacker"], call.params["attacker_params"] or {}
    inside: dict[str, Any] = {} if attacker == "fgsm" else {"verbose": False}
    if attacker in STEP_ATTACKS:
        inside |= {"eps": call.delta, "norm": call.norm}
        inside["eps_step"] = 2.5 * (call.delta or 0) / given.get("max_iter", 100)
    return np.asarray(call.attack(attacker_params={**inside, **given}).generate(call.x, y=call.y))


def universal_targeted(call: Call) -> np.ndarray:
    """One perturbation towards one class: the target, or untargeted the commonest wrong class.

    ART leaves the attack inside untargeted, so that it flees from the target; here it is targeted.

    Returns:
        Points, as ART has them.
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


def from_images(call: Call) -> np.ndarray:
    """Targeted, start from an image of the batch that has the target class; random images seldom have it."""
    start = None if call.target is None else call.x[guides(call)]
    return np.asarray(call.attack().generate(call.x, y=call.y, x_adv_init=start))


def from_pool(call: Call) -> np.ndarray:
    """Targeted, search for a first direction among the images of the batch."""
    pool = None if call.target is None else call.x
    return np.asarray(call.attack().generate(call.x, y=call.y, x_init=pool))


def towards_guides(call: Call) -> np.ndarray:
    """Approach the outputs of another image of the batch, the nearest one of another class (or of the target)."""
    return np.asarray(call.attack().generate(call.x, y=call.x[guides(call)]))


def frame_by_frame(call: Call) -> np.ndarray:
    """The attack inside is gradient descent in the same ball."""
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


def patched(call: Call) -> np.ndarray:
    """Learn one patch on all points, then put it on each."""
    channels, height, width = call.x.shape[1:]
    side = min(height, width)
    attack = call.attack(patch_shape=(channels, side, side))
    attack.generate(call.x, y=call.y)
    return np.asarray(attack.apply_patch(call.x, scale=call.params["scale"]))


def coordinatewise(call: Call) -> np.ndarray:
    """One point at a time; ART refuses more coordinates in parallel than there are."""
    parallel = min(call.params["nb_parallel"], call.x[0].size)
    return one_by_one(replace(call, arguments={**call.arguments, "nb_parallel": parallel}))


def laser(call: Call) -> np.ndarray:
    """A laser beam of any colour, with true classes as indices."""
    names = ("iterations", "max_laser_beam", "min_laser_beam", "random_initializations")
    attack = LaserBeamAttack(call.view, **{name: call.params[name] for name in names})
    return np.asarray(attack.generate(call.x, y=call.label))


def sticker(call: Call) -> np.ndarray:
    """Images in their own size."""
    size = (call.x.shape[3], call.x.shape[2])
    return np.asarray(call.attack(net_size=size).generate(call.x, y=call.y))


def sticker_from_guides(call: Call) -> np.ndarray:
    """Images in their own size; the sticker is cut from an image of the batch that has the wanted class."""
    size = (call.x.shape[3], call.x.shape[2])
    start = call.x[guides(replace(call, target=call.y.argmax(axis=1)))]
    return np.asarray(call.attack(net_size=size, noise_size=size).generate(call.x, y=call.y, x_tar=start))


def guides(call: Call) -> np.ndarray:
    """For every point the nearest one that is predicted as its target, or untargeted as another class than its own.

    Returns:
        Indices (n,); a point without any is its own guide.
    """
    predicted = call.predictions()
    flat = call.x.reshape(len(call.x), -1)
    apart = ((flat[:, None] - flat[None]) ** 2).sum(axis=2)
    fits = predicted != call.label[:, None] if call.target is None else predicted == call.target[:, None]
    np.fill_diagonal(apart, np.finfo(apart.dtype).max)
    apart[~fits] = np.inf
    return np.asarray(apart.argmin(axis=1))


def _alone(call: Call) -> dict[str, int]:
    """A batch size of one where it means the number of points at once, as it does if it was filled in."""
    return {"batch_size": 1} if call.params.get("batch_size", 0) is None else {}
