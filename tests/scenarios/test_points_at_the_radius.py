"""Points that an attack puts exactly at δ count in `evaluate` and `metrics`, and contradict no certificate."""

import numpy as np
import pytest
import torch
from torch import nn

import art_flat as af
from art_flat import metrics
from art_flat.attacks import as_attack
from art_flat.models import as_classifier

ORDERS = {"Linf": np.inf, "L2": 2, "L1": 1, "L0": 0}
RADII = {"Linf": 0.1, "L2": 0.5, "L1": 2.0, "L0": 5.0}
D = 24


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=["float32", "float64"])
def case(request):
    """A linear net, of which the worst point in a ball is known, and samples in the middle of the range."""
    generator = torch.Generator().manual_seed(1)
    layer = nn.Linear(D, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(3, D, generator=generator))
    module = nn.Sequential(nn.Flatten(), layer).to(request.param)
    x = (torch.rand(30, D, generator=generator) * 0.4 + 0.3).to(request.param)
    y = module(x).argmax(dim=1)
    return as_classifier(module, input_shape=(D,), nb_classes=3, clip_values=(-5, 5)), x, y


def at_radius(norm, delta):
    """Along the gradient to length δ in float32, whatever rounding makes of it."""

    def step(module, x, y):
        x = x.float().requires_grad_(True)
        logits = module(x.to(next(module.parameters(), x).dtype))
        (g,) = torch.autograd.grad(nn.functional.cross_entropy(logits, y), x)
        if norm == "Linf":
            return (x + delta * g.sign()).detach()
        if norm in ("L1", "L0"):
            kept = g.abs() >= g.abs().topk(5, dim=1).values[:, -1:]
            g = torch.where(kept, g, 0)
        size = 2.0 if norm == "L0" else delta
        length = torch.linalg.vector_norm(g, ord=2 if norm == "L0" else ORDERS[norm], dim=1, keepdim=True)
        return (x + size * g / length).detach()

    return step


@pytest.mark.parametrize("norm", RADII)
def test_own_attacks_count_at_the_radius(case, norm):
    classifier, x, y = case
    delta = RADII[norm]
    attack = as_attack(at_radius(norm, delta), name="at_radius", norms=[norm])
    results = af.evaluate(
        classifier, x, y, attacks=[attack], deltas={norm: [delta]}, epsilons=[0.1], save_adversarial=True
    )
    rows = results.adversarial
    clean = results.clean_points(rows["sample"]).astype(np.float64)
    shift = results.adversarial_points(rows).astype(np.float64) - clean
    length = np.linalg.norm(shift, ord=ORDERS[norm], axis=1)
    assert (length <= delta).all()
    np.testing.assert_allclose(rows[norm.lower()], length, rtol=1e-12)
    assert (length >= 0.999 * delta).all()
    attacked = torch.from_numpy(results.adversarial_points(rows))
    truth = float((classifier.model(attacked).argmax(dim=1) == y).double().mean())
    row = results.summary().iloc[0]
    assert row["robust_accuracy"] == truth < 1
    share = metrics.loss_change_robustness(
        classifier, x, y, attack=attack, delta=delta, norm=norm, epsilon=0.1
    )
    assert share == row["loss_change_robustness@0.1"]
    assert not row["certified@0.1"] > share
    assert not row["certified_accuracy"] > truth
    assert row["bound_violations"] == 0


def test_objects_with_arrays_of_radii_count(case):
    from art.attacks.evasion import ProjectedGradientDescent

    classifier, x, y = case
    if x.dtype == torch.float64:
        pytest.skip("ART works in float32")
    eps = np.full(D, 0.1, dtype=np.float32)
    attack = ProjectedGradientDescent(classifier, eps=eps, eps_step=eps / 2, max_iter=4, verbose=False)
    rows = af.evaluate(classifier, x, y, attacks=[attack], deltas={"Linf": [0.1]}, certify=None).adversarial
    assert (rows["linf"] <= 0.1).all()
    assert (rows["linf"] > 0.099).all()


def test_what_lies_outside_never_counts(case):
    classifier, x, y = case
    attack = as_attack(at_radius("Linf", 0.1 * (1 + 1e-3)), name="beyond", norms=["Linf"])
    row = af.evaluate(classifier, x, y, attacks=[attack], deltas={"Linf": [0.1]}).summary().iloc[0]
    assert row["robust_accuracy"] == 1
