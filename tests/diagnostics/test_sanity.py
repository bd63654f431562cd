"""Step sizes are recorded, and those that leave the ball or do not reach its edge are findings."""

import json

import pytest

import art_flat as af
from art_flat.attacks import load_attack


def run(digits, *attacks, deltas, **options):
    net, x, y = digits
    return af.evaluate(net, x, y, attacks=list(attacks), deltas=deltas, certify=None, **options)


def step_findings(results):
    return {(f.id, f.severity) for f in results.findings() if f.id.startswith("step")}


@pytest.mark.parametrize(
    ("spec", "size", "count"),
    [
        ("art_flat:PGD(steps=10)", 0.05, 10),
        ("art_flat:PGD(steps=10, step_size=0.03)", 0.03, 10),
        ("torchattacks:PGD(steps=10)", 0.05, 10),
        ("torchattacks:PGD(steps=4, alpha=0.01)", 0.01, 4),
        ("torchattacks:FFGSM", 0.25, 1),
        ("torchattacks:SPSA(nb_iter=5)", 0.1, 5),
        ("art:ProjectedGradientDescent(max_iter=20)", 0.025, 20),
        ("art:BasicIterativeMethod(max_iter=20, eps_step=0.1)", 0.1, 20),
    ],
)
def test_the_default_covers_two_and_a_half_radii(spec, size, count):
    if spec.startswith("torchattacks"):
        pytest.importorskip("torchattacks")
    steps = load_attack(spec).fixed_steps(0.2)
    assert steps.size == pytest.approx(size)
    assert steps.number == count


@pytest.mark.parametrize("spec", ["art_flat:APGD", "art:DeepFool", "art:AutoProjectedGradientDescent"])
def test_attacks_without_a_fixed_step_have_none(spec):
    assert load_attack(spec).fixed_steps(0.2) is None


def test_steps_are_in_the_environment_file(digits, tmp_path):
    run(digits, "art_flat:PGD(steps=5)", deltas={"Linf": [0.1, 0.2], "L2": [1.0]}, out=tmp_path)
    facts = json.loads((tmp_path / "manifest.json").read_text())
    (attack,) = facts["attacks"]
    found = [(s["norm"], s["delta"], s["number"]) for s in attack["steps"]]
    assert found == [("Linf", 0.1, 5), ("Linf", 0.2, 5), ("L2", 1.0, 5)]
    assert [s["size"] for s in attack["steps"]] == pytest.approx([0.05, 0.1, 0.5])


def test_a_fixed_step_that_falls_short_is_found_and_leaves_more_right(digits):
    """torchattacks' PGD-10 with its own default step of 2/255, at a radius of 0.3, reaches 0.078."""
    pytest.importorskip("torchattacks")
    short = run(digits, "torchattacks:PGD(steps=10, alpha=0.00784)", deltas={"Linf": [0.3]})
    scaled = run(digits, "torchattacks:PGD(steps=10)", deltas={"Linf": [0.3]})
    assert step_findings(short) == {("steps-below-radius", "warning")}
    assert not step_findings(scaled)
    assert short.summary()["robust_accuracy"].item() >= scaled.summary()["robust_accuracy"].item() + 0.2


def test_a_step_longer_than_the_radius_is_found(digits):
    """ART accepts its default step of 0.1 at 8/255."""
    results = run(
        digits, "art:ProjectedGradientDescent(max_iter=5, eps_step=0.1)", deltas={"Linf": [8 / 255, 0.2]}
    )
    assert step_findings(results) == {("step-above-radius", "warning")}
    (finding,) = [f for f in results.findings() if f.id == "step-above-radius"]
    assert "5 × 0.1 at L∞, δ = 8/255" in finding.what
    assert "δ = 0.2" not in finding.what


def test_a_single_long_step_is_worth_knowing(digits):
    pytest.importorskip("torchattacks")
    results = run(digits, "torchattacks:FFGSM", deltas={"Linf": [0.1]})
    assert step_findings(results) == {("step-above-radius", "info")}
