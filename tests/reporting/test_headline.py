"""The verdict in words: over all radii, with the shares and radii of an independent count."""

import numpy as np
import pandas as pd
import pytest

from art_flat.records import ALL_ATTACKS
from art_flat.reporting.headline import half_radii, headlines

NAN = float("nan")


def summary(certified, survived, accuracy=0.9, deltas=(0.1, 0.2, 0.3, 8 / 255 + 1)):
    n = len(survived)
    return pd.DataFrame(
        {"model": "net", "norm": "Linf", "attack": ALL_ATTACKS, "delta": deltas[:n], "n_evaluated": 80,
         "accuracy": accuracy, "certified_accuracy": certified, "robust_accuracy": survived}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("certified", "survived", "words"),
    [
        ([0.9, 0.6, 0.0], [0.9, 0.7, 0.4], "Robust up to δ = 0.2, certified; not robust at δ = 0.3 or beyond."),
        ([0.9, 0.3, 0.0], [0.9, 0.7, 0.4],
         "Robust up to δ = 0.1, certified; open up to δ = 0.2; not robust at δ = 0.3 or beyond."),
        ([NAN] * 3, [0.9, 0.5, 0.4], "Survives attacks up to δ = 0.2, unproven; not robust at δ = 0.3 or beyond."),
        ([0.0, 0.0], [0.125, 0.0], "Not robust at δ = 0.1 or beyond, the smallest radius tried: attacks leave 12.5 % "
         "of 80 samples."),
        ([0.9, 0.8], [0.9, 0.8], "Robust up to δ = 0.2, the largest radius tried: certified."),
        ([0.9, 0.1], [0.9, 0.8], "Not broken within δ = 0.2, the largest radius tried, and certified up to δ = 0.1; "
         "open between."),
        ([NAN, NAN], [0.9, 0.8], "Not broken within δ = 0.2, the largest radius tried, but unproven: no radius is "
         "certified for half of the samples."),
    ],
)  # fmt: skip
def test_sentence(certified, survived, words):
    (verdict,) = headlines(summary(certified, survived))
    assert verdict.sentence == words
    assert verdict.title == "net, L∞"


def test_models_that_are_wrong_anyway_and_runs_without_results():
    assert headlines(summary([NAN], [0.1], accuracy=0.25))[0].sentence == (
        "Wrong without any attack: accuracy is 25.0 % of 80 samples."
    )
    nothing = summary([NAN], [NAN]).assign(n_evaluated=0, accuracy=NAN)
    assert headlines(nothing)[0].sentence.startswith("Nothing measured")


def test_radii_of_one_half_are_those_of_a_plain_count():
    rng = np.random.default_rng(0)
    for _ in range(200):
        deltas = sorted(rng.random(5))
        survived = np.sort(rng.random(5))[::-1]
        certified = survived * rng.random()
        radii = half_radii(deltas, certified, survived)
        expected = [
            max((d for d, c in zip(deltas, certified, strict=True) if c >= 0.5), default=None),
            max((d for d, s in zip(deltas, survived, strict=True) if s >= 0.5), default=None),
            min((d for d, s in zip(deltas, survived, strict=True) if s < 0.5), default=None),
        ]
        assert list(radii) == expected
