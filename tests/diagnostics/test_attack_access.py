"""A defence without gradient that keeps every white-box attack from running is an error at the top."""

import numpy as np
import pytest
import torch
from art.defences.preprocessor import FeatureSqueezing
from art.estimators.classification import PyTorchClassifier

import art_flat as af


@pytest.fixture
def defended():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    squeeze = FeatureSqueezing(clip_values=(0, 1), bit_depth=6)
    estimator = PyTorchClassifier(
        model, torch.nn.CrossEntropyLoss(), (1, 8, 8), 3, clip_values=(0, 1), preprocessing_defences=squeeze
    )
    x = np.random.default_rng(0).random((8, 1, 8, 8), dtype=np.float32)
    return estimator, x, af.adapt(estimator).predict(x)


WHITE, BLACK = "art_flat:PGD(steps=3)", "art_flat:UniformNoise"


def run(defended, attacks, **options):
    return af.evaluate(*defended, attacks=attacks, deltas={"Linf": [0.1]}, certify=None, **options)


def test_it_is_the_first_finding_and_names_the_option_of_evaluate(defended):
    results = run(defended, [WHITE, BLACK])
    first = results.findings()[0]
    assert (first.id, first.severity) == ("no-white-box-attack", "error")
    assert "FeatureSqueezing has no gradient" in first.what
    assert "evaluate(..., estimate_gradients=True)" in first.advice
    assert "estimate_gradients=True" in results.failures()["error"].iloc[0]
    assert "no-white-box-attack" in results.to_markdown()


@pytest.mark.parametrize(
    ("attacks", "options"), [([WHITE, BLACK], {"estimate_gradients": True}), ([BLACK], {})]
)
def test_nothing_is_reported_where_they_ran_or_were_not_asked_for(defended, attacks, options):
    assert "no-white-box-attack" not in {f.id for f in run(defended, attacks, **options).findings()}
