"""Rays from samples: directions, losses and curvature against closed forms."""

import math

import numpy as np
import pandas as pd
import pytest
from tolerances import close, near

from art_flat.analysis import radial_profile
from art_flat.errors import InputError, UnknownNameError

ALL = ("adversarial", "random", "class", "manifold")


def softplus_second(u):
    p = 1 / (1 + math.exp(-u))
    return p * (1 - p)


def test_curvature_of_a_linear_net_is_that_of_the_softplus(linear):
    # ℓ = log(1 + exp(u)), u = 8 x₀ − 4 for label 0; the second derivative along direction e is (8 e₀)² σ(u)σ(−u)
    net = linear([[-4.0, 0.0, 0.0], [4.0, 0.0, 0.0]], bias=[2.0, -2.0])
    x = np.array([[0.2, 0.5, 0.5], [0.2, 0.7, 0.5], [0.8, 0.5, 0.5]], dtype=np.float32)
    y = np.array([0, 0, 1])
    radii = [0.01 * i for i in range(30)]
    profile = radial_profile(net, x, y, radii=radii, neighbours=1)
    frame = profile.frame().set_index(["direction", "sample", "radius"]).sort_index()
    assert set(frame.index.levels[0]) == set(ALL)
    for direction in ("adversarial", "class"):  # both lead along +x₀ for sample 0
        for radius in radii[1:-1]:
            row = frame.loc[(direction, 0, radius)]
            u = 8 * (0.2 + radius) - 4
            assert row["loss"] == near(math.log1p(math.exp(u)), "net")
            assert row["curvature"] == pytest.approx(64 * softplus_second(u), rel=0.05, abs=0.02)
            p = 1 / (1 + math.exp(u))
            phi = (0.2 + radius) ** 2 + 0.5**2 + 0.5**2
            assert row["kappa"] == near(32 * phi * 2 * p * (1 - p), "net")
            assert row["confidence"] == near(max(p, 1 - p), "net")
            assert row["label"] == (0 if p > 0.5 else 1)
    flat = frame.loc[("manifold", 0)][
        "curvature"
    ].dropna()  # the neighbour differs in x₁, on which nothing depends
    np.testing.assert_allclose(flat, 0, atol=5e-3)
    table = profile.conditions().set_index("sample")
    assert table.loc[0, "holds"]
    assert table.loc[0, "off_over_on"] > 10
    assert table.loc[0, "curvature_off"] == pytest.approx(
        (table.loc[0, "curvature_adversarial"] + table.loc[0, "curvature_random"]) / 2
    )
    assert bool(table.loc[0, "label_kept"]) is True


def test_a_loss_that_bends_along_the_manifold_fails_the_condition(linear):
    net = linear([[-4.0, 0.0], [4.0, 0.0]], bias=[2.0, -2.0])
    x = np.array([[0.45, 0.5], [0.55, 0.5]], dtype=np.float32)  # the data lie along x₀, all that matters
    profile = radial_profile(
        net, x, np.array([0, 1]), directions=("random", "manifold"), radii=[0.1, 0.2, 0.3]
    )
    table = profile.conditions()
    assert not table["holds"].any()
    assert (table["off_over_on"] < 0.01).all()
    assert table["label_kept"].all()
    assert list(profile.frame()["direction"].unique()) == ["random", "manifold"]


def test_uneven_radii_are_exact_for_parabolas():
    import torch

    from art_flat.analysis.profile import _second_derivative

    radii = torch.tensor([0.0, 0.1, 0.15, 0.4, 1.0], dtype=torch.float64)
    seen = _second_derivative((3 * radii**2 - radii + 2)[None], radii)
    np.testing.assert_allclose(seen[0, 1:-1], 6, rtol=1e-9)
    assert seen[0, [0, -1]].isnan().all()


def test_directions_are_what_they_are_called(digits):
    import torch

    from art_flat.analysis._rays import DIRECTIONS, Origins, unit

    net, x, y = digits
    place = Origins.from_samples(net, torch.as_tensor(x), torch.as_tensor(y), 4, 0, None)
    rays = {name: unit(find(place)) for name, find in DIRECTIONS.items()}
    for ray in rays.values():
        np.testing.assert_allclose(ray.norm(dim=1), 1, rtol=1e-9)
    basis = place.basis()
    inside = torch.einsum("nmd,nd->nm", basis, rays["manifold"])
    np.testing.assert_allclose(inside.norm(dim=1), 1, rtol=1e-9)
    assert torch.einsum("nmd,nd->nm", basis, rays["random"]).abs().max() < 1e-9
    flat = x.reshape(len(x), -1).astype(np.float64)
    for i in range(len(x)):
        gaps = [np.linalg.norm(flat[j] - flat[i]) if y[j] != y[i] else np.inf for j in range(len(x))]
        j = int(np.argmin(gaps))
        np.testing.assert_allclose(rays["class"][i], (flat[j] - flat[i]) / gaps[j], atol=1e-9)
    step = torch.as_tensor(x) + 1e-2 * rays["adversarial"].float().reshape(x.shape)
    right = np.asarray(net.predict(x)) == y
    rise = net.loss(np.clip(step.numpy(), 0, 1), y) - net.loss(x, y)
    assert (rise[right] > 0).mean() > 0.9


def test_profile_of_a_trained_net(digits):
    net, x, y = digits
    profile = radial_profile(net, x, y, seed=1)
    frame = profile.frame()
    assert len(frame) == 24 * 4 * 21
    start = frame[frame["radius"] == 0]
    for _, part in start.groupby("direction"):
        np.testing.assert_allclose(part["loss"], net.loss(x, y), **close("net"))
        np.testing.assert_allclose(part["log_kappa"], net.log_relative_sharpness(x), **close("net", scale=10))
        assert part["inside"].all()
    assert not frame["inside"].all()
    pd.testing.assert_frame_equal(frame, radial_profile(net, x, y, seed=1).frame())
    assert not frame.equals(radial_profile(net, x, y, seed=2).frame())
    end = frame[frame["radius"] == frame["radius"].max()].set_index(["direction", "sample"])["loss"]
    assert end["adversarial"].median() > end["random"].median()
    assert profile.conditions()["holds"].notna().all()


def test_rays_towards_given_points(digits):
    net, x, y = digits
    other = np.roll(x, 1, axis=0)
    length = float(np.linalg.norm((other - x)[0]))
    profile = radial_profile(
        net, x, y, directions=["adversarial"], adversarial=other, radii=[length / 2, length]
    )
    end = profile.frame().query("sample == 0").iloc[-1]
    assert end["loss"] == near(float(net.loss(other[:1], y[:1])[0]), "steps", scale=0.1)
    table = profile.conditions()
    assert table["holds"].isna().all()


def test_words_of_errors(digits):
    net, x, y = digits
    with pytest.raises(UnknownNameError, match="did you mean 'manifold'"):
        radial_profile(net, x, y, directions=["manifolds"])
    with pytest.raises(InputError, match="`radii` must increase"):
        radial_profile(net, x, y, radii=[0.2, 0.1])
    with pytest.raises(InputError, match="at least two radii"):
        radial_profile(net, x, y, radii=[0.2])
    with pytest.raises(InputError, match="at least two samples"):
        radial_profile(net, x[:1], y[:1], directions=["manifold"], radii=[0.1, 0.2])
    with pytest.raises(InputError, match="samples of two classes"):
        radial_profile(net, x[[0, 19]], y[[0, 0]], directions=["class"], radii=[0.1, 0.2])
    with pytest.raises(InputError, match="`radii` follow from the distances"):
        radial_profile(net, x[:1], y[:1], directions=["adversarial"])
    profile = radial_profile(net, x[:2], y[:2], directions=["adversarial"])
    with pytest.raises(InputError, match="cannot plot 'los'"):
        profile.plot("los")


def test_plot(digits):
    net, x, y = digits
    (axes,) = radial_profile(net, x[:4], y[:4], radii=[0.1, 0.2]).plot("curvature").axes
    names = [line.get_label() for line in axes.lines]
    assert names == [
        "adversarial (increasing loss)",
        "random (off the data)",
        "towards another class",
        "along the data",
    ]
