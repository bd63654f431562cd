"""Valley, ridge and flip of a trajectory, on paths known in advance."""

import math

import numpy as np
import pytest
from tolerances import close
from traced import make, wide_fixture  # noqa: F401

from art_flat.analysis import trace_attack


def test_valley_of_a_path_known_in_advance(linear):
    net = linear([[-4.0, 0.0], [4.0, 0.0]], bias=[2.0, -2.0])  # logits ±(4 x₀ − 2), boundary at x₀ = ½
    x, y = np.array([[0.25, 0.5], [0.375, 0.25]], dtype=np.float32), np.array([0, 0])
    stops = [0.45, 0.6, 0.95, 1.0]

    def run(problem):
        for stop in stops:
            points = problem.x.clone()
            points[:, 0] = stop
            problem.module(points)
        points[1, 0] = 0.55
        return points

    traced = trace_attack(net, make(run, budget="fixed"), x, y, delta=0.8, flat_epsilon=0.2)
    samples = traced.valley()
    np.testing.assert_array_equal(samples["flip_step"], [2, 2])
    np.testing.assert_array_equal(samples["peak_step"], [2, 2])
    wanted = 32 * (0.5**2 + np.array([0.5, 0.25]) ** 2) / 2  # two classes: the bound is attained
    np.testing.assert_allclose(samples["ridge_bound"], wanted, **close("net", scale=0))
    np.testing.assert_allclose(samples["ridge_height"], wanted, **close("net", scale=0))

    def kappa(x0, x1):
        p = 1 / (1 + math.exp(8 * x0 - 4))
        return 32 * (x0**2 + x1**2) * 2 * p * (1 - p)

    np.testing.assert_allclose(
        samples["kappa_clean"], [kappa(0.25, 0.5), kappa(0.375, 0.25)], **close("net", scale=0)
    )
    np.testing.assert_allclose(
        samples["kappa_peak"], [kappa(0.6, 0.5), kappa(0.6, 0.25)], **close("net", scale=0)
    )
    np.testing.assert_allclose(
        samples["kappa_end"], [kappa(1.0, 0.5), kappa(0.55, 0.25)], **close("net", scale=0)
    )
    np.testing.assert_allclose(samples["end_over_clean"], samples["kappa_end"] / samples["kappa_clean"])
    confident = [1 / (1 + math.exp(-8 * s + 4)) for s in stops]
    flat = [[kappa(s, x1) < kappa(*x0) for s in stops] for x0, x1 in ((x[0], 0.5), (x[1], 0.25))]
    steps = [sum(c >= 0.9 and f for c, f in zip(confident, row, strict=True)) for row in flat]
    np.testing.assert_array_equal(
        samples["valley_steps"], [steps[0] + 1, steps[1]]
    )  # one ends at 1.0, one leaves
    np.testing.assert_array_equal(samples["uncanny"], [True, False])
    assert traced.uncanny_valley_fraction == 0.5
    assert traced.success == 1
    p = 1 / (1 + math.exp(2))  # two classes: log(1 − p + p exp(8t)) = ε
    np.testing.assert_allclose(
        samples["flat_radius_clean"].iloc[0], math.log((math.exp(0.2) - 1 + p) / p) / 8, **close("net")
    )
    summary = traced.summary((0.5,)).set_index("measure")
    assert summary.loc["kappa_clean", "q50"] == pytest.approx(samples["kappa_clean"].median())
    assert set(summary["delta"]) == {0.8}
    assert set(summary["success"]) == {1.0}


def test_wrong_clean_points_have_no_ridge_and_do_not_count(linear):
    net = linear([[-4.0, 0.0], [4.0, 0.0]], bias=[2.0, -2.0])
    x, y = np.array([[0.9, 0.5]], dtype=np.float32), np.array([0])
    traced = trace_attack(net, "art_flat:PGD(steps=2)", x, y, delta=0.1)
    samples = traced.valley()
    assert samples["ridge_height"].isna().all()
    assert not samples["right_clean"].any()
    assert math.isnan(traced.uncanny_valley_fraction)
    assert math.isnan(traced.success)
    assert traced.summary()["n"].eq(0).all()


@pytest.mark.parametrize("definition", ["neuronwise", "unsquared"])
def test_definitions(wide, definition):
    net, x, y = wide
    traced = trace_attack(net, "art_flat:PGD(steps=2)", x, y, delta=0.2, definition=definition)
    frame = traced.frame()
    ends = frame.groupby("sample").last()["kappa"]
    np.testing.assert_allclose(
        ends, net.relative_sharpness(traced.result.x, definition=definition), **close("net", scale=0)
    )


def test_strength_decides_how_deep_into_the_valley(digits):
    net, x, y = digits
    weak, strong = (trace_attack(net, "art_flat:PGD(steps=20)", x, y, delta=d) for d in (0.05, 0.3))
    assert strong.success > weak.success
    end, top = (strong.valley()[c].median() for c in ("log_kappa_end", "log_kappa_peak"))
    assert end < top - 1
    assert strong.uncanny_valley_fraction > 0.2
