"""Scaling the head masks gradients and removes no adversarial point."""

import copy

import numpy as np
import pytest
import torch
from tolerances import close

import art_flat as af
from art_flat.analysis import ScaledHead, scale_sweep
from art_flat.diagnostics.zero_gradients import zero_gradients
from art_flat.errors import InputError, ParameterError
from art_flat.models import as_classifier


@pytest.fixture(scope="module")
def ours(digits):
    net, x, y = digits
    return scale_sweep(net, "art_flat:PGD(steps=10)", x, y, delta=0.2, scales=[1, 10, 100])


@pytest.mark.parametrize("library", ["torchattacks", "art"])
def test_a_library_attack_is_blinded_while_its_points_stay(digits, library):
    if library == "torchattacks":
        pytest.importorskip("torchattacks", reason="torchattacks is not installed")
    name = {"torchattacks": "torchattacks:PGD(steps=10)", "art": "art:ProjectedGradientDescent(max_iter=10)"}
    net, x, y = digits
    frame = scale_sweep(net, name[library], x, y, delta=0.2, scales=[1, 10, 100]).frame().set_index("scale")
    assert frame.loc[1, "robust_accuracy"] < 0.2
    assert frame.loc[100, "robust_accuracy"] > 0.9 * frame.loc[100, "accuracy"]
    assert frame["robust_accuracy"].is_monotonic_increasing
    assert (frame["transfer_success"] > 0.9).all()
    assert frame["accuracy"].nunique() == 1
    assert (frame["zero_gradients"].to_numpy()[[0, 2]] == [0, pytest.approx(1, abs=0.2)]).all()
    assert frame.loc[10, "zero_gradients_float64"] == 0 < frame.loc[10, "zero_gradients"]


def test_our_attack_is_not_blinded(ours):
    frame = ours.frame().set_index("scale")
    assert frame.loc[100, "zero_gradients"] > 0.8
    assert (frame["robust_accuracy"] <= 0.1).all()
    assert frame.loc[100, "loss_increase_q50"] > 10 * frame.loc[1, "loss_increase_q50"]


def test_quantities_are_those_of_a_model_with_a_larger_head(digits, ours):
    net, x, _ = digits
    model = copy.deepcopy(net.estimator.model).double()
    with torch.no_grad():
        model.head.weight *= 10
        model.head.bias *= 10
    big = af.adapt(as_classifier(model, input_shape=(1, 8, 8), nb_classes=10))
    view = ScaledHead(net, 10)
    np.testing.assert_allclose(view.logits(x), big.logits(x), **close("net", scale=100))
    torch.testing.assert_close(view.head.weight.double(), big.head.weight, **close("value"))
    torch.testing.assert_close(view.head.bias.double(), big.head.bias, **close("value"))
    torch.testing.assert_close(
        view.as_module()(torch.as_tensor(x)), view.logits(torch.as_tensor(x)), **close("net", scale=100)
    )
    assert view.identity()["sha256"] != net.identity()["sha256"]
    rows = ours.samples[ours.samples["scale"] == 10]
    expected = np.asarray(big.log_relative_sharpness(x))
    np.testing.assert_allclose(rows["log_kappa_clean"], expected, **close("net", scale=100))
    z = big.outputs(x).logits
    p = torch.softmax(z, 1)
    direct = (p * (1 - p)).sum(1) * (big.outputs(x).features ** 2).sum(1) * (big.head.weight**2).sum()
    known = (direct > 1e-8).numpy()
    assert known.any()
    np.testing.assert_allclose(rows["log_kappa_clean"][known], direct.log()[known], rtol=1e-2)
    row = ours.frame().set_index("scale").loc[10]
    np.testing.assert_allclose(row["log_kappa_clean_q50"], np.median(expected), **close("net", scale=100))


def test_transfer_rows_are_what_the_scaled_net_says_of_the_points_found_at_one(digits, ours):
    net, x, y = digits
    found = af.load_attack("art_flat:PGD(steps=10)")(net, x, y, delta=0.2)
    for scale, rows in ours.samples.groupby("scale"):
        view = ScaledHead(net, scale)
        np.testing.assert_array_equal(rows["transfer"], view.predict(found.x) != y)
        increase = view.loss(found.x, y) - view.loss(x, y)
        np.testing.assert_allclose(rows["loss_increase_transfer"], increase, **close("net", scale=100))


def test_the_users_model_is_not_changed(digits):
    net, x, y = digits
    before = net.identity()["sha256"]
    scale_sweep(net, "art_flat:PGD(steps=1)", x[:4], y[:4], delta=0.1, scales=[7])
    assert net.identity()["sha256"] == before
    assert all(p.grad is None for p in net.estimator.model.parameters())


def test_zero_gradients(linear):
    net = linear([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    x, y = torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([0, 0])
    seen = {s: zero_gradients(ScaledHead(net, s), x, y) for s in (1, 200, 2000)}
    assert [z.own.tolist() for z in seen.values()] == [[False, False], [True, False], [True, False]]
    assert [z.float64.tolist() for z in seen.values()] == [[False, False], [False, False], [True, False]]
    dead = linear([[0.0, 0.0], [0.0, 0.0]])
    assert zero_gradients(dead, x, y).float64.all()


def test_words_of_errors(digits):
    net, x, y = digits
    with pytest.raises(InputError, match="`scales` must be greater than 0"):
        scale_sweep(net, "art_flat:PGD", x, y, delta=0.1, scales=[0, 1])
    with pytest.raises(InputError, match="`scales` is empty"):
        scale_sweep(net, "art_flat:PGD", x, y, delta=0.1, scales=[])
    with pytest.raises(ParameterError, match="the radius is `delta`"):
        scale_sweep(net, "art_flat:PGD", x, y, delta=0.1, eps=0.1)


def test_plot(ours):
    left, middle, right = ours.plot().axes
    assert {line.get_label() for line in left.lines} >= {
        "robust accuracy, attacked at s",
        "fooled by points found at s = 1",
    }
    assert [line.get_label() for line in middle.lines] == ["κ clean, 10 to 90 %", "κ adversarial, 10 to 90 %"]
    assert right.lines[1].get_ydata() == pytest.approx(ours.frame()["loss_increase_q50"])
