"""Flatness scores against loops over pairs, and what must not change them."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art_flat.errors import InputError
from art_flat.functional import log_gini_impurity, log_relative_sharpness
from art_flat.scores import (
    confidently_wrong_fraction,
    flat_adversarial_fraction,
    flatness_at_matched_confidence,
    flatness_decomposition,
    flatness_ratio,
)

NAN, INF = math.nan, math.inf
few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10_000)


def columns(seed, n=15, m=None, nan=0.0):
    """Clean and adversarial log κ, on a coarse grid so that there are ties."""
    rng = np.random.default_rng(seed)
    clean, adv = rng.integers(-9, 9, n) / 3, rng.integers(-12, 9, (m, n) if m else n) / 3
    clean[1:][rng.random(n - 1) < nan] = NAN
    adv[..., 1:][rng.random(adv[..., 1:].shape) < nan] = NAN
    return clean, adv


def count(values, times, quantile):
    """The value at place ⌈q · N⌉ of the values written out as often as they count."""
    written = sorted(v for v, t in zip(values, times, strict=True) for _ in range(t))
    return written[max(math.ceil(Fraction(str(quantile)) * len(written)), 1) - 1]


@pytest.mark.parametrize("quantile", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("m", [None, 1, 3])
def test_ratio_and_fraction_equal_a_loop_over_pairs(m, quantile):
    clean, adv = columns(3, n=40, m=m, nan=0.1)
    rng = np.random.default_rng(0)
    inside, times = rng.random(adv.shape) < 0.8, rng.integers(0, 4, 40)
    changes, counts = [], []
    for row, mask in zip(np.atleast_2d(adv), np.atleast_2d(inside), strict=True):
        for i in range(40):
            if mask[i] and not math.isnan(row[i]) and not math.isnan(clean[i]):
                changes.append(row[i] - clean[i])
                counts.append(times[i])
    options = {"admissible": inside, "sample_weight": times}
    got = flatness_ratio(clean, adv, quantile=quantile, **options)
    assert got == pytest.approx(math.exp(count(changes, counts, quantile)), rel=1e-12)
    flatter = sum(t for c, t in zip(changes, counts, strict=True) if c < 0) / sum(counts)
    assert flat_adversarial_fraction(clean, adv, **options) == pytest.approx(flatter, rel=1e-12)
    assert 0 < flatter < 1


@given(seed=seeds)
@few
def test_the_median_ratio_is_below_one_just_when_half_are_flatter(seed):
    clean, adv = columns(seed, n=1 + seed % 9)
    assert (flatness_ratio(clean, adv) < 1) == (flat_adversarial_fraction(clean, adv) >= 0.5)


def test_zero_sharpness():
    assert flatness_ratio([0.0], [-INF]) == 0.0
    assert flatness_ratio([-INF], [0.0]) == INF
    assert flatness_ratio([-INF, 1.0], [-INF, 1.0]) == 1.0
    assert flat_adversarial_fraction([-INF, 1.0, -INF], [-INF, -INF, 1.0]) == 0.5
    assert flatness_ratio([-800.0], [0.0]) == INF
    for score in (flatness_ratio, flat_adversarial_fraction):
        with pytest.raises(InputError, match=r"no sample .* is left .* κ = 0 at both points"):
            score([-INF], [-INF])
        with pytest.raises(InputError, match=r"no sample .* is left"):
            score([1.0], [1.0], admissible=[False])


def test_an_equal_sharpness_is_not_flatter():
    assert flat_adversarial_fraction([1.0, 1.0], [1.0, 0.5]) == 0.5
    assert flatness_ratio([1.0], [1.0]) == 1.0


def brute_confidently_wrong(y, z_adv, confidence, inside, finished, weight):
    hit = total = 0.0
    for i in range(len(y)):
        rows = [(z_adv[a][i], inside[a][i]) for a in range(len(z_adv)) if finished[a][i]]
        if not rows:
            continue
        total += weight[i]
        for row, mask in rows:
            if np.isnan(row).any():
                continue
            p = [math.exp(v - max(row)) for v in row]
            top = p.index(max(p))
            if mask and top != y[i] and p[top] / sum(p) >= confidence:
                hit += weight[i]
                break
    return hit / total


@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_confidently_wrong_equals_a_loop(confidence):
    rng = np.random.default_rng(4)
    y, z_adv = rng.integers(0, 4, 80), 3 * rng.normal(size=(2, 80, 4))
    z_adv[rng.random((2, 80)) < 0.2, 1] = NAN
    inside, weight = rng.random((2, 80)) < 0.7, rng.random(80)
    masks = {"admissible": inside, "finished": rng.random((2, 80)) < 0.6}
    got = confidently_wrong_fraction(y, z_adv, confidence=confidence, sample_weight=weight, **masks)
    expected = brute_confidently_wrong(y, z_adv, confidence, *masks.values(), weight)
    assert got == pytest.approx(expected, rel=1e-12)
    assert 0 < got < 1


def test_confidently_wrong_needs_both():
    y, rows = [0, 0, 0, 0], [[0.0, 9.0], [0.0, 1.0], [9.0, 0.0], [0.0, math.log(9.0) + 1e-9]]
    assert [confidently_wrong_fraction(y[:1], [row]) for row in rows] == [1.0, 0.0, 0.0, 1.0]
    assert confidently_wrong_fraction(y, rows) == 0.5
    assert confidently_wrong_fraction(y, [[r[1] - r[0]] for r in rows]) == 0.5  # logistic
    assert confidently_wrong_fraction(y, rows, admissible=[False, True, True, True]) == 0.25
    assert confidently_wrong_fraction(y, rows, confidence=0) == 0.75
    assert confidently_wrong_fraction(np.eye(2)[y], torch.tensor(rows, requires_grad=True)) == 0.5
    assert confidently_wrong_fraction([0], [[NAN, 0.0]]) == 0.0
    with pytest.raises(InputError, match="no attack finished"):
        confidently_wrong_fraction([0], [[NAN, 0.0]], finished=[False])
    with pytest.raises(InputError, match="`confidence` must be between 0 and 1"):
        confidently_wrong_fraction(y, rows, confidence=90)


def network_quantities(seed, n=50, k=4, d=6):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(k, d, generator=generator, dtype=torch.float64)
    features = (
        torch.randn(2, n, d, generator=generator, dtype=torch.float64)
        * torch.tensor([1.0, 2.0])[:, None, None]
    )
    logits = features @ weight.T
    kappa = torch.stack([log_relative_sharpness(z, f, weight) for z, f in zip(logits, features, strict=True)])
    gini = torch.stack([log_gini_impurity(z) for z in logits])
    return kappa, features.norm(dim=2), gini


def test_decomposition_adds_up_for_every_point():
    kappa, norm, gini = network_quantities(0)
    for i in range(50):
        parts = flatness_decomposition(
            norm[0, i : i + 1], norm[1, i : i + 1], gini[0, i : i + 1], gini[1, i : i + 1]
        )
        assert parts.delta_log_kappa == pytest.approx(float(kappa[1, i] - kappa[0, i]), rel=1e-10)
        assert parts.delta_log_kappa == parts.from_feature_norm + parts.from_confidence
        assert all(type(p) is float for p in parts)


def test_decomposition_gives_medians_over_pairs():
    kappa, norm, gini = network_quantities(1)
    parts = flatness_decomposition(norm[0], norm[1], gini[0], gini[1])
    assert math.exp(parts.delta_log_kappa) == pytest.approx(flatness_ratio(kappa[0], kappa[1]), rel=1e-10)
    times = [1] * 50
    assert parts.from_feature_norm == pytest.approx(
        count((2 * (norm[1] / norm[0]).log()).tolist(), times, 0.5)
    )
    assert parts.from_confidence == pytest.approx(count((gini[1] - gini[0]).tolist(), times, 0.5))
    mixed = flatness_decomposition(
        norm[0], norm, gini[0], gini, admissible=np.repeat([[False], [True]], 50, axis=1)
    )
    assert mixed == parts


def test_decomposition_leaves_out_undefined_pairs():
    nan_part = flatness_decomposition([1.0, 0.0, 1.0], [2.0, 0.0, 1.0], [0.0, -1.0, NAN], [-1.0, -1.0, -3.0])
    assert nan_part == pytest.approx((2 * math.log(2) - 1, 2 * math.log(2), -1.0))
    dead = flatness_decomposition([1.0], [0.0], [-1.0], [-2.0])
    assert dead == (-INF, -INF, -1.0)
    with pytest.raises(InputError, match=r"no sample .* is left"):
        flatness_decomposition([0.0], [0.0], [-1.0], [-1.0])
    with pytest.raises(InputError, match="feature norms must be at least 0"):
        flatness_decomposition([1.0], [-1.0], [-1.0], [-1.0])
    with pytest.raises(InputError, match=r"`log_gini` must have shape \(1,\), got \(2,\)"):
        flatness_decomposition([1.0], [1.0], [-1.0, 0.0], [-1.0, 0.0])
    with pytest.raises(InputError, match=r"`log_gini_adv` must have shape \(1,\), got \(3, 1\)"):
        flatness_decomposition([1.0], [1.0], [-1.0], [[-1.0]] * 3)


def brute_match(kappa, kappa_adv, gini, gini_adv, tolerance, times, quantile):
    changes, counts, total = [], [], 0
    for j in range(len(kappa_adv)):
        if math.isnan(kappa_adv[j]) or math.isnan(gini_adv[j]):
            continue
        total += times[j]
        keys = {g for g, k, t in zip(gini, kappa, times, strict=True) if t and not math.isnan(k)}
        key = min(keys, key=lambda g: (abs(g - gini_adv[j]), g))
        if abs(key - gini_adv[j]) <= tolerance:
            same = [i for i in range(len(gini)) if gini[i] == key and not math.isnan(kappa[i])]
            changes.append(kappa_adv[j] - count([kappa[i] for i in same], [times[i] for i in same], 0.5))
            counts.append(times[j])
    return math.exp(count(changes, counts, quantile)), sum(counts) / total


@given(
    seed=seeds, tolerance=st.sampled_from([0.25, 1.0, 10.0]), quantile=st.sampled_from([0.0, 0.4, 0.5, 1.0])
)
@few
def test_matching_equals_a_loop(seed, tolerance, quantile):
    rng = np.random.default_rng(seed)
    (kappa, kappa_adv), times = columns(seed, n=30, nan=0.1), rng.integers(0, 4, 30)
    gini, gini_adv = rng.integers(-12, 0, 30) / 4, rng.integers(-16, 0, 30) / 4
    times[0], gini_adv[0] = 1, gini[0]
    got = flatness_at_matched_confidence(
        kappa, kappa_adv, gini, gini_adv, tolerance=tolerance, quantile=quantile, sample_weight=times
    )
    assert got == pytest.approx(brute_match(kappa, kappa_adv, gini, gini_adv, tolerance, times, quantile))


def test_at_equal_confidence_only_the_feature_norm_is_left():
    """Adversarial points that are surer and flatter, but no flatter than clean points as sure."""
    rng = np.random.default_rng(5)
    gini = rng.uniform(-6, 0, 2000)
    kappa = gini + 0.01 * rng.normal(size=2000)
    sure = np.full(2000, -5.0)
    assert flatness_ratio(kappa, sure) < 0.2
    matched = flatness_at_matched_confidence(kappa, sure, gini, sure)
    assert matched.ratio == pytest.approx(1.0, abs=0.1)
    assert matched.matched_fraction == 1.0
    twice = flatness_at_matched_confidence(kappa, sure + math.log(4), gini, sure)
    assert twice.ratio == pytest.approx(4 * matched.ratio)


def test_matching_says_how_many_it_speaks_for():
    clean, gini = [1.0, 2.0], [-2.0, -1.0]
    call = (clean, [[1.0, 2.0], [9.0, 9.0]], gini, [[-2.05, -1.0], [-8.0, 0.0]])
    assert flatness_at_matched_confidence(*call) == (1.0, 0.5)
    inside = [[True, True], [False, True]]
    assert flatness_at_matched_confidence(*call, admissible=inside) == pytest.approx((1.0, 2 / 3))
    with pytest.raises(InputError, match=r"no clean point's log G lies within 0.1 .* widen `tolerance`"):
        flatness_at_matched_confidence(clean, clean, gini, [-7.0, -8.0])
    with pytest.raises(InputError, match="every log κ or log G is NaN"):
        flatness_at_matched_confidence([NAN], [1.0], [-1.0], [-1.0])
    with pytest.raises(InputError, match="`tolerance` must be at least 0"):
        flatness_at_matched_confidence(clean, clean, gini, gini, tolerance=-1)


def decomposition(a, b, **options):
    return flatness_decomposition(np.exp(np.asarray(a)), np.exp(np.asarray(b)), a, b, **options)


def matched(a, b, **options):
    coarse, coarse_adv = np.round(np.asarray(a)), np.round(np.asarray(b))
    return flatness_at_matched_confidence(a, b, coarse, coarse_adv, tolerance=1, **options)


PAIR_SCORES = {
    "ratio": flatness_ratio,
    "fraction": flat_adversarial_fraction,
    "decomposition": decomposition,
    "matched": matched,
}
each_score = pytest.mark.parametrize("score", PAIR_SCORES.values(), ids=PAIR_SCORES.keys())


@each_score
@given(seed=seeds)
@few
def test_order_weights_and_form_of_the_input(score, seed):
    clean, adv = columns(seed, nan=0.1)
    adv[0] = clean[0]
    rng = np.random.default_rng(seed)
    order, times = rng.permutation(15), rng.integers(0, 4, 15)
    times[0] = 1
    expected = score(clean, adv)
    assert score(clean[order], adv[order]) == pytest.approx(expected)
    assert score(torch.tensor(clean), torch.tensor(adv)) == score(clean.tolist(), adv.tolist()) == expected
    assert score(clean, adv[None]) == expected
    assert score(clean, np.stack([adv, adv])) == pytest.approx(expected)
    repeated = score(clean.repeat(times), adv.repeat(times))
    assert score(clean, adv, sample_weight=times) == pytest.approx(repeated)
    assert score(clean, adv, sample_weight=0.1 * times) == pytest.approx(repeated)


@pytest.mark.parametrize("score", [flatness_ratio, flat_adversarial_fraction])
@pytest.mark.parametrize(
    ("clean", "adv", "options", "words"),
    [
        ([], [], {}, r"`log_kappa` must have shape \(n,\), with at least one sample"),
        ([[1.0]], [[1.0]], {}, r"`log_kappa` must have shape \(n,\)"),
        (
            [1.0],
            [1.0, 2.0],
            {},
            r"`log_kappa_adv` must have shape \(1,\), or \(m, 1\) for m attacks, got \(2,\)",
        ),
        ([1.0, 2.0], [[1.0], [2.0]], {}, r"`log_kappa_adv` must have shape"),
        (["a"], [1.0], {}, "expected an array of numbers"),
        ([1.0], [1.0], {"admissible": [1]}, "`admissible` must be booleans"),
        ([1.0], [1.0], {"sample_weight": [-1]}, "`sample_weight` must be finite"),
    ],
)
def test_bad_input_says_what_is_wrong(score, clean, adv, options, words):
    with pytest.raises(InputError, match=words):
        score(clean, adv, **options)


def test_bad_quantile():
    with pytest.raises(InputError, match="`quantile` must be between 0 and 1"):
        flatness_ratio([1.0], [1.0], quantile=50)
