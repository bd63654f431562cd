"""Attacks of every library keep their strength whatever the clip range: the exact worst case of a linear model."""

import numpy as np
import pytest
import torch

import art_flat as af
from art_flat.attacks.view import Window
from art_flat.errors import AttackNotUsableError
from art_flat.scorers import loss_change_robustness_scorer

RANGES = [(0.0, 255.0), (-1e5, 1e5), (-np.inf, np.inf)]
ASCENTS = [
    ("Linf", "art_flat:PGD"), ("Linf", "art_flat:APGD"), ("Linf", "torchattacks:FGSM"),
    ("Linf", "torchattacks:PGD"), ("Linf", "torchattacks:MIFGSM"), ("Linf", "art:FastGradientMethod"),
    ("Linf", "art:ProjectedGradientDescent(max_iter=10)"),
    ("Linf", "foolbox:LinfProjectedGradientDescentAttack"), ("Linf", "foolbox:LinfFastGradientAttack"),
    ("L2", "art_flat:PGD"), ("L2", "torchattacks:PGDL2"), ("L2", "art:FastGradientMethod"),
    ("L2", "art:ProjectedGradientDescent(max_iter=10)"), ("L2", "foolbox:L2ProjectedGradientDescentAttack"),
]  # fmt: skip
NEAREST = ["torchattacks:DeepFool", "art:DeepFool", "foolbox:L2DeepFoolAttack"]
D, N = 12, 16


def problem(linear, clip, shift=0.0, spread=1.0):
    """A linear classifier, its inputs and labels, the difference of its rows and their margins, float64."""
    rng = np.random.default_rng(0)
    x = (spread * rng.uniform(0.2, 0.8, (N, D)) + shift).astype(np.float32)
    w = rng.normal(size=D) / spread
    bias = -float(w @ x.mean(axis=0, dtype=np.float64))
    y = rng.integers(0, 2, N)
    net = linear(np.stack([np.zeros(D), w]), torch.tensor([0.0, bias]), clip)
    net_w = net.estimator.model[1].weight.detach().double().numpy()[1]
    net_b = float(net.estimator.model[1].bias.detach()[1])
    return net, x, y, net_w, (x.astype(np.float64) @ net_w + net_b) * (2 * y - 1)


def worst_loss(x, y, w, margin, delta, norm, clip):
    """The largest loss in ball and range, nats, float64 (n,)."""
    s = (2 * y - 1)[:, None]
    if norm == "Linf":
        moved = np.clip(x - s * delta * np.sign(w), *clip) - x
    else:
        moved = -s * delta * w / np.linalg.norm(w)
        assert ((x + moved >= clip[0]) & (x + moved <= clip[1])).all()
    return np.logaddexp(0, -(margin + s[:, 0] * (moved @ w)))


def losses(y, logits):
    return np.logaddexp(0, -(logits[:, 1] - logits[:, 0]).double().numpy() * (2 * y - 1))


@pytest.mark.parametrize("clip", RANGES, ids=str)
@pytest.mark.parametrize(("norm", "attack"), ASCENTS)
def test_the_largest_loss_is_found(linear, norm, attack, clip):
    net, x, y, w, margin = problem(linear, clip)
    adv = af.load_attack(attack)(net, x, y, delta=0.1, norm=norm)
    exact = worst_loss(x.astype(np.float64), y, w, margin, 0.1, norm, clip)
    assert np.asarray(adv.within_budget).all()
    np.testing.assert_allclose(losses(y, adv.outputs.logits), exact, rtol=2e-3 if norm == "Linf" else 0.02)


@pytest.mark.parametrize("spread", [1e-4, 1e4])
@pytest.mark.parametrize("clip", [(-1e9, 1e9), (-np.inf, np.inf)], ids=str)
@pytest.mark.parametrize("attack", ["torchattacks:PGD", "art:ProjectedGradientDescent", "foolbox:LinfPGD"])
def test_the_unit_of_the_data_does_not_matter(linear, attack, clip, spread):
    attack = attack.replace("LinfPGD", "LinfProjectedGradientDescentAttack")
    net, x, y, w, margin = problem(linear, clip, spread=spread)
    adv = af.load_attack(attack)(net, x, y, delta=0.1 * spread, norm="Linf")
    exact = worst_loss(x.astype(np.float64), y, w, margin, 0.1 * spread, "Linf", clip)
    np.testing.assert_allclose(losses(y, adv.outputs.logits), exact, rtol=2e-3)


@pytest.mark.parametrize("attack", ["torchattacks:PGD", "art:ProjectedGradientDescent(max_iter=10)"])
def test_features_far_from_each_other_keep_their_radius(linear, attack):
    shift = np.zeros(D)
    shift[0] = 1e4  # such as a year beside a share
    net, x, y, _, _ = problem(linear, (-np.inf, np.inf), shift)
    adv = af.load_attack(attack)(net, x, y, delta=0.1, norm="Linf")
    moved = np.abs(adv.x.astype(np.float64) - x)
    assert (moved >= 0.099).all()


@pytest.mark.parametrize("clip", [(-1e30, 1e30), (0.0, np.inf)], ids=str)
@pytest.mark.parametrize("attack", NEAREST)
def test_the_nearest_point_is_found(linear, attack, clip):
    net, x, y, w, margin = problem(linear, clip)
    adv = af.load_attack(attack)(net, x, y)
    right = margin > 0
    exact = margin[right] / np.linalg.norm(w)
    inside = x[right] - (margin[right] / (w @ w) * (2 * y[right] - 1))[:, None] * w
    free = (inside >= clip[0]).all(axis=1)
    np.testing.assert_allclose(adv.distances["L2"][right][free], exact[free], rtol=0.03)


@pytest.mark.parametrize("attack", ["torchattacks:PGD", "art:FastGradientMethod"])
def test_a_radius_that_float32_cannot_hold_is_refused(linear, attack):
    net, x, y, _, _ = problem(linear, (-np.inf, np.inf), spread=1e6)
    with pytest.raises(AttackNotUsableError, match=r"delta = 0.1 is too small for float32.*use art_flat:PGD"):
        af.load_attack(attack)(net, x, y, delta=0.1, norm="Linf")


def test_the_ball_stays_in_a_range_that_is_narrow_for_some_features_only():
    """One range per feature, some of them without end: nothing outside is asked or found."""
    from art.estimators.classification import PyTorchClassifier

    rng = np.random.default_rng(1)
    low, high = np.full(D, -np.inf, np.float32), np.full(D, np.inf, np.float32)
    low[:4], high[:4] = 0.0, 1.0
    x, y = rng.uniform(0.02, 0.98, (N, D)).astype(np.float32), rng.integers(0, 2, N)
    seen = []

    class Watching(torch.nn.Linear):
        def forward(self, inputs):
            seen.append(inputs.detach())
            return super().forward(inputs)

    classifier = PyTorchClassifier(
        Watching(D, 2), torch.nn.CrossEntropyLoss(), (D,), 2, clip_values=(low, high)
    )
    net = af.adapt(classifier)
    seen.clear()
    adv = af.load_attack("art:ProjectedGradientDescent", max_iter=5)(net, x, y, delta=0.1, norm="Linf")
    everything = torch.cat(seen)[:, :4]
    assert everything.min() >= 0
    assert everything.max() <= 1
    reached = np.abs(adv.x - x)[:, 4:]
    np.testing.assert_allclose(reached, 0.1, rtol=1e-4)


@pytest.mark.parametrize("attack", ["art:FastGradientMethod", "torchattacks:FGSM"])
def test_scorers_need_no_range(attack):
    """Their default is any value at all; a linear model's worst case is known exactly."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    y = (x @ [1, -2, 0, 1, 3] + rng.normal(size=200) > 0).astype(int)
    model = LogisticRegression().fit(x, y)
    margin = (x @ model.coef_[0] + model.intercept_[0]) * (2 * y - 1)
    change = np.logaddexp(0, 0.1 * np.abs(model.coef_[0]).sum() - margin) - np.logaddexp(0, -margin)
    exact = (change <= 0.2).mean()
    assert 0.1 < exact < 0.9
    scorer = loss_change_robustness_scorer(delta=0.1, epsilon=0.2, attack=attack)
    assert scorer(model, x, y) == pytest.approx(exact, abs=0.01)


def test_values_at_the_ends_of_the_range_keep_their_gradient():
    """torch's clamp has half of it there, or none."""
    window = Window(torch.zeros(1).double(), 2.0, (torch.zeros(4), torch.ones(4)))
    u = torch.tensor([[0.0, 0.25, 0.5, 0.75]], requires_grad=True)
    x = window.from_unit(u)
    np.testing.assert_array_equal(x.detach().numpy(), [[0.0, 0.5, 1.0, 1.0]])
    x.sum().backward()
    np.testing.assert_array_equal(u.grad.numpy(), [[2.0, 2.0, 2.0, 0.0]])
