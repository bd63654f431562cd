"""`Results.optimality` against the records, one sample and one radius at a time."""

import itertools

import numpy as np
import pytest
import torch

import art_flat as af
from art_flat.attacks import as_attack
from art_flat.errors import AttackNotUsableError

DELTAS = {"Linf": [0.1, 0.25, 0.3], "L2": [1.0]}


def nearest(module, x, y):
    """Walks along the sign of the gradient in small steps until the prediction is wrong."""
    point = x.clone()
    for _ in range(12):
        leaf = point.clone().requires_grad_()
        logits = module(leaf)
        step = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, y), leaf)[0].sign()
        point = torch.where(
            (logits.argmax(1) == y)[:, None, None, None], (leaf + 0.03 * step).clamp(0, 1), leaf
        )
    return point.detach()


@pytest.fixture(scope="module")
def run(digits):
    net, x, y = digits
    weight = np.linspace(0.5, 2, len(x))
    walk = as_attack(nearest, norms="Linf", budget="minimum-norm")
    attacks = ["art_flat:PGD(steps=10)", "art_flat:PGD(steps=1)", "noise", walk]
    return af.evaluate({"cnn": net}, x, y, attacks=attacks, deltas=DELTAS, weight=weight, certify=None)


def brute_force(results, attack, norm, limit):
    """Both scores of one attack at one radius."""
    records = results.records()
    radii = [0.0, *sorted(d for d in DELTAS[norm] if d <= limit)]
    broken, whole, shares, weights = 0.0, 0.0, [], []
    for _, rows in records.groupby("sample"):
        mine, weight = rows[rows["attack"] == attack], rows["weight"].iloc[0]
        if rows["pred_clean"].iloc[0] == rows["label"].iloc[0]:
            for before, radius in itertools.pairwise(radii):
                for part, group in (("own", mine), ("best", rows)):
                    hit = ((group["pred_adv"] != group["label"]) & (group[norm.lower()] <= radius)).any()
                    gained = weight * (radius - before) * hit
                    broken, whole = (broken + gained, whole) if part == "own" else (broken, whole + gained)
        own, best = (
            max(0, group.loc[group[norm.lower()] <= limit, "loss_change"].max(skipna=True))
            if (group[norm.lower()] <= limit).any()
            else 0
            for group in (mine, rows)
        )
        if best > 0:
            shares.append(own / best)
            weights.append(weight)
    return broken / whole if whole else np.nan, np.average(shares, weights=weights)


def test_against_brute_force(run):
    frame = run.optimality()
    assert len(frame) == 6 * 4 + 3
    for row in frame[::5].itertuples():
        distance, loss = brute_force(run, row.attack, row.norm, row.delta)
        assert row.distance_optimality == pytest.approx(distance, nan_ok=True)
        assert row.loss_optimality == pytest.approx(loss)
        assert row.n_evaluated == 24
        assert 0 <= row.loss_optimality <= 1


def test_weak_attacks_are_seen_as_weak(run):
    frame = run.optimality()
    at = frame[(frame["norm"] == "Linf") & (frame["delta"] == 0.3)].set_index("attack")
    strong, weak, noise = (
        at.loc[a] for a in ("art_flat:PGD(steps=10)", "art_flat:PGD(steps=1)", "art_flat:UniformNoise")
    )
    assert strong["loss_optimality"] > 0.95 > weak["loss_optimality"] > noise["loss_optimality"]
    assert strong["distance_optimality"] > 0.9 > 0.3 > noise["distance_optimality"]
    assert at.loc["own:nearest"]["distance_optimality"] > noise["distance_optimality"]


def test_one_attack_alone_is_the_best(digits):
    net, x, y = digits
    options = {"deltas": {"Linf": [0.2]}, "certify": None}
    frame = af.evaluate(net, x, y, attacks="art_flat:PGD(steps=10)", **options).optimality()
    assert (frame[["distance_optimality", "loss_optimality"]] == 1).all().all()


def test_a_sequence_alone_is_the_best_after_its_last_step(digits):
    net, x, y = digits
    steps = ["art_flat:GaussianNoise @two.1", "art_flat:PGD(steps=10) @two.2"]
    frame = af.evaluate(net, x, y, attacks=steps, deltas={"Linf": [0.1, 0.2]}, certify=None).optimality()
    scores = frame.set_index("attack")[["distance_optimality", "loss_optimality"]]
    assert (scores.loc[steps[1]] == 1).all().all()
    assert (scores.loc[steps[0]] < 1).all().all()


def test_one_that_never_ran_has_no_row(digits):
    net, x, y = digits

    def broken(module, x, y):
        raise AttackNotUsableError("not here")

    frame = af.evaluate(
        net, x, y, attacks=["art_flat:PGD(steps=5)", broken], deltas={"Linf": [0.2]}, certify=None
    ).optimality()
    assert list(frame["attack"]) == ["art_flat:PGD(steps=5)"]
