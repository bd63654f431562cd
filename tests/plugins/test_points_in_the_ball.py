"""Every attack that takes a radius ends in the ball: no point is lost to rounding, and none outside counts."""

import numpy as np
import pytest

import art_flat as af

RADII = {"Linf": 0.1, "L2": 0.7, "L1": 3.0, "L0": 6.0}
QUICK = (
    "art_flat:PGD",
    "torchattacks:PGD",
    "torchattacks:PGDL2",
    "art:FastGradientMethod",
    "foolbox:LinfPGD",
)


def cases():
    for name, info in af.list_attacks().items():
        if info.budget == "fixed" and info.access == "white-box" and info.usability != "refused":
            for norm in info.norms:
                marks = () if name in QUICK else pytest.mark.slow
                yield pytest.param(name, norm, id=f"{name} {norm}", marks=marks)


@pytest.mark.parametrize(("name", "norm"), [*cases()])
def test_points_at_the_radius_count(name, norm, digits):
    net, x, y = digits
    x, y, delta = x[:6], y[:6], RADII[norm]
    results = af.evaluate(
        net,
        x,
        y,
        attacks=[name],
        deltas={norm: [delta]},
        save_adversarial=True,
        certify=None,
        time_limit=60.0,
    )
    rows = results.adversarial
    if not rows["status"].isin(["ok", "fallback"]).any():
        assert rows["error"].notna().all()
        pytest.skip(str(rows["error"].iloc[0]))
    shift = results.adversarial_points(rows).astype(np.float64) - results.clean_points(rows["sample"])
    flat = np.abs(shift.reshape(len(rows), -1))
    distance = {
        "Linf": flat.max(axis=1),
        "L2": np.sqrt((flat**2).sum(axis=1)),
        "L1": flat.sum(axis=1),
        "L0": (flat > 0).sum(axis=1),
    }[norm]
    at_radius = distance <= delta * (1 + 1e-4)
    assert rows["within_budget"].to_numpy(bool)[at_radius].all()
    assert (rows[norm.lower()].to_numpy(float)[at_radius] <= delta).all()
    assert not rows["within_budget"].to_numpy(bool)[~at_radius].any()
