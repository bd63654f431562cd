"""Both ends of the robust share: in the summary with the kinds of bounds, and as one metric."""

import numpy as np
import pandas as pd
import pytest
import torch
from tolerances import close

import art_flat as af
from art_flat import metrics
from art_flat.errors import InputError
from art_flat.models import as_classifier
from art_flat.reporting.text import summary_notes

ATTACK = "art_flat:PGD(steps=10)"


@pytest.fixture(scope="module")
def net():
    """An untrained net whose constants are small enough to certify something."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    )
    return af.adapt(as_classifier(model, input_shape=(6,), nb_classes=3))


@pytest.fixture(scope="module")
def data(net):
    x = np.random.default_rng(0).uniform(size=(40, 6)).astype(np.float32)
    return x, net.predict(x)


def test_the_metric_gives_what_the_two_metrics_give(net, data):
    x, y = data
    for delta, epsilon in ((0.02, 0.02), (0.1, 0.05), (0.3, 0.5)):
        both = metrics.loss_change_robustness_bracket(
            net, x, y, delta=delta, epsilon=epsilon, norm="L2", attack=ATTACK
        )
        low = metrics.certified_loss_change_robustness(net, x, y, delta=delta, epsilon=epsilon, norm="L2")
        high = metrics.loss_change_robustness(
            net, x, y, delta=delta, epsilon=epsilon, norm="L2", attack=ATTACK
        )
        assert both == (low, high, 40, "best", "spectral")
        assert both.certified <= both.empirical
    assert both.empirical > 0


def test_a_given_constant_is_named_and_used(net, data):
    x, y = data
    tight, loose = (
        metrics.loss_change_robustness_bracket(
            net, x, y, delta=0.1, epsilon=0.05, norm="L2", attack=ATTACK, lipschitz=constant, kind="lse"
        )
        for constant in (1e-3, 1e3)
    )
    assert (tight.certified, tight.lipschitz_kind, tight.bound_kind) == (1.0, "given", "lse")
    assert loose.certified == 0


def test_bad_input(net, data):
    x, y = data
    for bad in ({"lipschitz": -1.0}, {"lipschitz": float("nan")}, {"epsilon": -0.1}, {"delta": -0.1}):
        with pytest.raises(InputError):
            metrics.loss_change_robustness_bracket(
                net, x, y, **({"delta": 0.1, "epsilon": 0.1, "attack": ATTACK} | bad)
            )


def test_a_constant_as_the_adapter_gives_it(net, data):
    x, y = data
    for norm in ("L2", "Linf"):
        own, same = (
            metrics.input_radius(net, x, y, 0.1, norm=norm, lipschitz=constant)
            for constant in (None, net.lipschitz(norm))
        )
        np.testing.assert_array_equal(own, same)
    estimate = net.lipschitz("L2", kind="empirical", points=x)
    for constant, norm in ((estimate, "L2"), (net.lipschitz("Linf"), "L2")):
        with pytest.raises(InputError, match="needs a constant for L2 that is not an estimate"):
            metrics.input_radius(net, x, y, 0.1, norm=norm, lipschitz=constant)


def test_the_summary_says_what_certifies(net, data):
    x, y = data
    options = {"attacks": [ATTACK], "deltas": {"L2": [0.05]}}
    spectral, given, none, auto = (
        af.evaluate({"net": net}, x, y, **certificates, **options).summary()
        for certificates in (
            {"lipschitz": "spectral", "certify": "lipschitz"},
            {"lipschitz": {"net": 2.0}, "certify": "lipschitz"},
            {"certify": None},
            {},
        )
    )
    assert set(spectral["lipschitz_kind"]) == {"spectral"}
    assert set(spectral["bound_kind"]) == {"best"}
    assert set(given["lipschitz_kind"]) == {"given"}
    assert none["lipschitz_kind"].isna().all()
    assert any("derived from the layers" in line for line in summary_notes(spectral))
    assert any("not verified (net), bound: best" in line for line in summary_notes(given))
    assert not any("certified with" in line for line in summary_notes(none))
    assert set(auto["bound_kind"].iloc[0].split(", ")) <= {"crown_interval", "crown", "best"}
    assert any("over balls of inputs (net), bound: crown" in line for line in summary_notes(auto))
    assert (auto["certified@0.01"] >= spectral["certified@0.01"]).all()


def test_the_summary_takes_kappa_apart(net, data):
    x, y = data
    results = af.evaluate({"net": net}, x, y, attacks=[ATTACK], deltas={"L2": [1.0]}, certify=None)
    row, records = results.summary().iloc[0], results.records()
    wrong = records[records["pred_adv"] != records["label"]]
    assert 0 < len(wrong) == row["n_adversarial"]

    def lower_median(values):
        return np.sort(values)[(len(values) - 1) // 2]

    logits = torch.as_tensor(net.logits(x[wrong["sample"].to_numpy()])).double()
    p = logits.softmax(1)
    expected = {
        "weight_norm": float(net.head.weight.double().norm()),
        "feature_norm_clean": lower_median(wrong["feature_norm_clean"]),
        "feature_norm_adv": lower_median(wrong["feature_norm_adv"]),
        "gini_impurity_clean": lower_median((p * (1 - p)).sum(1).numpy()),
        "gini_impurity_adv": lower_median(wrong["trace_adv"] / wrong["feature_norm_adv"] ** 2),
        "feature_grad_norm_clean": lower_median(wrong["feature_grad_norm_clean"]),
        "feature_shift": lower_median(wrong["feature_shift"]),
    }
    pd.testing.assert_series_equal(
        row[list(expected)].astype(float), pd.Series(expected), check_names=False, **close("net")
    )
