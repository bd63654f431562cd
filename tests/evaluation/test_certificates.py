"""The certified side of the records: never above the attacked side, and honest where there is none."""

import numpy as np
import pytest
import torch
from tolerances import close

import art_flat as af
from art_flat.errors import InputError
from art_flat.evaluation import ALL_ATTACKS
from art_flat.models import as_classifier

ATTACKS = ["art_flat:APGD(steps=20)", "art:FastGradientMethod"]


@pytest.fixture(scope="module")
def small():
    """A linear model of digits, of which much can be certified, with 60 test images."""
    from art_flat.training import train

    data, test = af.load_dataset("digits", split="train"), af.load_dataset("digits", n=60)
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10)
    )
    train(model, data.x, data.y, epochs=10, weight_decay=5e-3)
    return af.adapt(as_classifier(model, input_shape=(1, 8, 8), nb_classes=10)), test.x, test.y


@pytest.fixture(scope="module")
def run(small):
    net, x, y = small
    return af.evaluate(
        net, x, y, attacks=ATTACKS, deltas={"Linf": [0.01, 0.05], "L2": [0.02, 0.1], "L1": [0.1]}
    )


@pytest.mark.slow
def test_the_bracket(run):
    summary = run.summary(epsilons=[0.05, 0.5, np.log(2)])
    for epsilon in ("0.05", "0.5", "0.693147"):
        low, high = summary[f"certified@{epsilon}"], summary[f"loss_change_robustness@{epsilon}"]
        assert (low <= high).all()
        assert low.notna().all()
    assert (summary["certified_accuracy"] <= summary["robust_accuracy"]).all()
    worst = summary[(summary["attack"] == ALL_ATTACKS) & (summary["norm"] == "L2")].set_index("delta")
    assert worst.loc[0.02, "certified@0.5"] > 0.5 > 0.01
    assert worst.loc[0.02, "certified@0.5"] >= worst.loc[0.1, "certified@0.5"]


@pytest.mark.slow
def test_no_record_exceeds_its_bound(run, digits):
    net, x, y = digits
    other = af.evaluate(
        net,
        x,
        y,
        attacks=[*ATTACKS, "art:DeepFool(max_iter=10)"],
        deltas={"Linf": [0.1], "L2": [1.0]},
        certify="lipschitz",
    )
    for results in (run, other):
        assert (results.summary()["bound_violations"] == 0).all()
        records = results.records()
        assert (records["loss_change"] <= records["bound_at_shift"] + 1e-4).all()
    assert (other.summary()["bound_tightness"].dropna() <= 1 + 1e-6).all()


def test_the_papers_bound_is_exceeded_and_that_is_shown(run):
    assert run.summary()["paper_bound_exceeded"].max() > 0.5


def test_the_certificate_is_the_bound_at_l_delta(small, run):
    from art_flat.functional import loss_increase_bound

    net, x, y = small
    out = net.outputs(x)
    for norm, delta in (("L2", 0.1), ("Linf", 0.05), ("L1", 0.1)):
        radius = net.lipschitz(norm).value * delta
        expected = loss_increase_bound(
            out.logits.double(),
            out.features.double(),
            net.head.weight.double(),
            torch.as_tensor(y),
            radius=radius,
        )
        rows = run.certified.query("kind == 'best' and norm == @norm and delta == @delta").sort_values(
            "sample"
        )
        np.testing.assert_allclose(rows["loss_increase_bound"], expected, **close("net"))
        assert set(rows["lipschitz"]) == {"spectral"}


def test_a_given_constant_and_none(small):
    net, x, y = small
    options = {"attacks": ATTACKS[:1], "deltas": {"L2": [0.1], "Linf": [0.01]}, "certify": "lipschitz"}
    constant = net.lipschitz("L2").value
    given = af.evaluate({"net": net}, x, y, lipschitz={"net": constant}, **options)
    spectral = af.evaluate({"net": net}, x, y, **options)
    same = [r.certified.query("norm == 'L2'")["loss_increase_bound"] for r in (given, spectral)]
    np.testing.assert_allclose(*same, rtol=1e-9)
    assert set(given.certified["lipschitz"]) == {"given"}
    assert given.models.loc[0, "lipschitz_given"] == constant
    none = af.evaluate({"net": net}, x, y, lipschitz=None, **options)
    assert none.certified.empty
    assert none.summary()["certified@0.1"].isna().all()
    for bad in ({"net": -1.0}, {"net": float("nan")}, {"other": 1.0}, "spectrall"):
        with pytest.raises(InputError, match="lipschitz"):
            af.evaluate({"net": net}, x, y, lipschitz=bad, **options)


def test_preprocessing_is_part_of_the_constant(small):
    net, _, _ = small
    model = net.estimator.model
    scaled = af.adapt(as_classifier(model, input_shape=(1, 8, 8), nb_classes=10, preprocessing=(0.5, 0.25)))
    assert scaled.lipschitz("L2").value == pytest.approx(4 * net.lipschitz("L2").value)
    assert model.training is False


def test_a_layer_without_a_constant_is_named(digits):
    _, x, y = digits
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LayerNorm(64), torch.nn.Linear(64, 10))
    classifier = as_classifier(model, input_shape=(1, 8, 8), nb_classes=10)
    results = af.evaluate(classifier, x, y, attacks=ATTACKS[:1], deltas={"L2": [0.1]})
    assert results.certified.empty
    assert any("LayerNorm" in str(f) for f in results.findings() if f.id == "certificates-skipped")
    assert "LayerNorm" in results.facts["certificates"]["model"]["missing"]["L2"]


def test_scikit_learn_is_certified_too():
    from art.estimators.classification import SklearnClassifier
    from sklearn.linear_model import LogisticRegression

    data = af.load_dataset("digits", n=80)
    x = data.x.reshape(80, -1).astype(np.float64)
    model = SklearnClassifier(LogisticRegression().fit(x, data.y), clip_values=(0.0, 1.0))
    results = af.evaluate(model, x, data.y, attacks=ATTACKS[:1], deltas={"L2": [0.05], "Linf": [0.01]})
    summary = results.summary(epsilons=[0.1])
    assert (summary["certified@0.1"] <= summary["loss_change_robustness@0.1"]).all()
    assert (summary["certified@0.1"] > 0.5).any()
    assert results.facts["certificates"]["model"]["lipschitz"]["L2"] == pytest.approx(1.0)
    assert results.facts["certificates"]["model"]["lipschitz"]["Linf"] == pytest.approx(8.0)


def test_a_model_that_is_its_own_head():
    model = torch.nn.Linear(6, 3)
    net = af.adapt(as_classifier(model, input_shape=(6,), nb_classes=3))
    assert net.lipschitz("L2").value == pytest.approx(1.0)
