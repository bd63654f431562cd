"""Robust shares against loops over samples and attacks, and what must not change them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

import art_flat.scores
from art_flat.errors import InputError, ParameterError
from art_flat.scores import (
    loss_change_robustness_score,
    prediction_robustness_score,
    robust_accuracy_on_correct_score,
    robust_accuracy_score,
    wrong_prediction_found_fraction,
)

NAN = math.nan
LABEL_0 = [0.6, 0.1, 0.1]
FLIPS_LOSS_FALLS = [0.6, 0.7, -5.0]
STAYS_LOSS_RISES = [0.6, 0.5, 0.5]


def loss_change_robustness(y, z, z_adv, **options):
    return loss_change_robustness_score(y, z, z_adv, epsilon=0.4, **options)


SCORES = {
    "loss_change": loss_change_robustness,
    "prediction": prediction_robustness_score,
    "accuracy": robust_accuracy_score,
    "accuracy_on_correct": robust_accuracy_on_correct_score,
    "wrong_found": wrong_prediction_found_fraction,
}
ROBUST = [name for name in SCORES if name != "wrong_found"]
each_score = pytest.mark.parametrize("score", SCORES.values(), ids=SCORES.keys())
few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10_000)


def case(seed, n=12, k=3, m=3, nan=0.0):
    """Labels, clean and adversarial logits; some misclassified before the attack, and NaN in a share of the rows."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    z = rng.normal(size=(n, k)) + 1.5 * np.eye(k)[y]
    z_adv = z + rng.normal(size=(m, n, k))
    if n > 1:
        y[0], z[0] = 0, np.linspace(1.0, 0.0, k)  # one clean-correct sample that is never NaN
        z[rng.random(n) < nan * (np.arange(n) > 0), 0] = NAN
        z_adv[rng.random((m, n)) < nan * (np.arange(n) > 0), -1] = NAN
    return y, z, z_adv


def loss(z, y):
    if any(math.isnan(v) for v in z):
        return NAN
    top = max(z)
    return top + math.log(sum(math.exp(v - top) for v in z)) - z[y]


def predicted(z):
    """The class with the largest logit; None where the output is undefined."""
    return None if any(map(math.isnan, z)) else list(z).index(max(z))


def brute_force(name, y, z, z_adv, admissible, finished, weight):
    """The definition of each score, sample by sample: an undefined output is not robust."""
    hit = total = 0.0
    for i in range(len(y)):
        points = [a for a in range(len(z_adv)) if finished[a][i]]
        inside = [z_adv[a][i] for a in points if admissible[a][i]]
        clean = predicted(z[i])
        if clean is not None and not points:
            continue
        labels = [predicted(p) for p in inside]
        undefined = None in (clean, *labels)
        all_right = all(c == y[i] for c in [clean, *labels])
        if name == "accuracy_on_correct" and clean != y[i]:
            continue
        total += weight[i]
        hit += (
            weight[i]
            * {
                "loss_change": not undefined
                and max([0.0] + [loss(p, y[i]) - loss(z[i], y[i]) for p in inside]) <= 0.4,
                "prediction": not undefined and all(c == clean for c in labels),
                "accuracy": all_right,
                "accuracy_on_correct": all_right,
                "wrong_found": not all_right,
            }[name]
        )
    return hit / total


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("seed", range(4))
def test_equals_a_loop_over_samples_and_attacks(name, seed):
    y, z, z_adv = case(seed, n=60, k=2 + seed, nan=0.15)
    rng = np.random.default_rng(seed)
    admissible, weight = rng.random(z_adv.shape[:2]) < 0.8, rng.integers(0, 4, 60) + 0.5
    finished = rng.random(z_adv.shape[:2]) < 0.5
    got = SCORES[name](y, z, z_adv, admissible=admissible, finished=finished, sample_weight=weight)
    assert type(got) is float
    assert got == pytest.approx(brute_force(name, y, z, z_adv, admissible, finished, weight), rel=1e-12)
    assert 0 < got < 1


def test_a_flip_and_a_rise_of_the_loss_are_two_things():
    flip, rise = ([0], [LABEL_0], [FLIPS_LOSS_FALLS]), ([0], [LABEL_0], [STAYS_LOSS_RISES])
    assert loss_change_robustness_score(*flip, epsilon=0.0) == 1.0
    assert prediction_robustness_score(*flip) == robust_accuracy_score(*flip) == 0.0
    assert loss_change_robustness_score(*rise, epsilon=0.2) == 0.0
    assert loss_change_robustness_score(*rise, epsilon=0.3) == 1.0
    assert prediction_robustness_score(*rise) == robust_accuracy_score(*rise) == 1.0


def test_changed_and_wrong_differ_where_the_clean_prediction_is_wrong():
    y, z, z_adv = [0, 1], [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.5]]
    assert prediction_robustness_score(y, z, z_adv) == 0.5
    assert robust_accuracy_score(y, z, z_adv) == 0.5
    assert robust_accuracy_on_correct_score(y, z, z_adv) == 1.0


def test_robust_accuracy_without_an_attack_is_accuracy():
    y, z, _ = case(5, n=40)
    assert robust_accuracy_score(y, z, z) == pytest.approx(accuracy_score(y, z.argmax(axis=1)))
    assert robust_accuracy_on_correct_score(y, z, z) == 1.0


@given(seed=seeds)
@few
def test_epsilon_only_ever_helps(seed):
    y, z, z_adv = case(seed)
    shares = [loss_change_robustness_score(y, z, z_adv, epsilon=e) for e in (0, 0.01, 0.1, 0.5, 2, 50)]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_epsilon_itself_is_tolerated():
    change = loss(STAYS_LOSS_RISES, 0) - loss(LABEL_0, 0)
    for epsilon, share in ((change * (1 - 1e-9), 0.0), (change * (1 + 1e-9), 1.0)):
        assert loss_change_robustness_score([0], [LABEL_0], [STAYS_LOSS_RISES], epsilon=epsilon) == share
    assert loss_change_robustness_score([0], [LABEL_0], [LABEL_0], epsilon=0) == 1.0


@pytest.mark.parametrize("name", ROBUST)
@given(seed=seeds)
@few
def test_more_attacks_never_make_more_robust(name, seed):
    y, z, z_adv = case(seed, m=4)
    shares = [SCORES[name](y, z, z_adv[:m]) for m in (1, 2, 3, 4)]
    assert shares == sorted(shares, reverse=True)


@each_score
@given(seed=seeds)
@few
def test_order_of_samples_and_attacks_is_irrelevant(score, seed):
    y, z, z_adv = case(seed, nan=0.1)
    order, attacks = np.random.default_rng(seed).permutation(12), [2, 0, 1]
    assert score(y[order], z[order], z_adv[attacks][:, order]) == pytest.approx(score(y, z, z_adv))


@each_score
@given(seed=seeds)
@few
def test_weights_are_repetitions(score, seed):
    y, z, z_adv = case(seed, nan=0.1)
    times = np.random.default_rng(seed).integers(0, 4, 12)
    times[0] = 1
    repeated = score(y.repeat(times), z.repeat(times, axis=0), z_adv.repeat(times, axis=1))
    assert score(y, z, z_adv, sample_weight=times) == pytest.approx(repeated)
    assert score(y, z, z_adv, sample_weight=0.1 * times) == pytest.approx(repeated)


@each_score
def test_every_form_of_the_same_input_gives_the_same(score):
    y, z, z_adv = case(7, n=30)
    expected = score(y, z, z_adv)
    assert score(np.eye(3)[y], z, z_adv) == score(y[:, None], z, z_adv) == expected
    assert score(y.tolist(), z.tolist(), z_adv.tolist()) == expected
    tensors = torch.tensor(y), torch.tensor(z, requires_grad=True), torch.tensor(z_adv, requires_grad=True)
    assert score(*tensors, sample_weight=torch.ones(30)) == expected
    assert score(y, z, z_adv[:1]) == score(y, z, z_adv[0])
    assert score(y, z, z_adv, admissible=np.ones((3, 30), dtype=bool)) == expected


@each_score
def test_single_precision_is_taken_to_double_first(score):
    y, z, z_adv = (a.astype(np.float32) for a in case(8, n=30))
    assert score(y, z, z_adv) == score(y, z.astype(np.float64), z_adv.astype(np.float64))
    confident, more = np.float32([[20.0, 0.0]]), np.float32([[19.0, 0.0]])  # p is 1 in float32
    assert loss_change_robustness_score([0], confident, more, epsilon=3e-9) == 0.0
    assert loss_change_robustness_score([0], confident, more, epsilon=4e-9) == 1.0


@each_score
def test_logistic_logits_are_the_two_class_ones(score):
    y, z, z_adv = case(9, n=40, k=2)
    logit, logit_adv = z[:, 1:] - z[:, :1], z_adv[..., 1:] - z_adv[..., :1]
    assert score(y, logit, logit_adv) == score(np.eye(2)[y], logit, logit_adv) == score(y, z, z_adv)


@each_score
@given(seed=seeds)
@few
def test_a_sample_that_no_attack_finished_is_left_out(score, seed):
    y, z, z_adv = case(seed)
    gone = np.arange(12) % 4 == 1
    finished = np.broadcast_to(~gone, (3, 12)).copy()
    garbage = np.where(gone[:, None], NAN, z_adv)
    expected = score(y[~gone], z[~gone], z_adv[:, ~gone])
    assert score(y, z, garbage, finished=finished) == pytest.approx(expected)
    nowhere = np.zeros((3, 12), dtype=bool)
    assert score(y, z, garbage, admissible=nowhere, finished=finished) == pytest.approx(
        score(y[~gone], z[~gone], z[~gone])
    )


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("bad", [[NAN, 1.0, 0.0], [math.inf, 0.0, 0.0], [-math.inf] * 3])
@given(seed=seeds)
@few
def test_an_undefined_output_never_raises_a_share(name, bad, seed):
    y, z, z_adv = case(seed)
    hit = np.random.default_rng(seed).random((3, 12)) < 0.3
    clean_hit = hit[0] & (np.arange(12) > 0)
    before = SCORES[name](y, z, z_adv)
    after = SCORES[name](y, z, np.where(hit[..., None], bad, z_adv))
    both = before - after if name == "wrong_found" else after - before
    assert both <= 1e-12
    if name == "accuracy_on_correct":
        return  # samples that are misclassified before the attack leave its denominator
    clean = SCORES[name](y, np.where(clean_hit[:, None], bad, z), z_adv)
    assert (before - clean if name == "wrong_found" else clean - before) <= 1e-12


@each_score
def test_one_failed_attack_leaves_the_others(score):
    y, z, z_adv = case(11, n=30)
    failed = np.concatenate([z_adv, np.full((1, 30, 3), NAN)])
    finished = np.arange(4)[:, None].repeat(30, axis=1) < 3
    assert score(y, z, failed, finished=finished) == score(y, z, z_adv)
    assert score(y, z, failed, admissible=finished) == score(
        y, z, z_adv
    )  # outside, what it is does not matter


@each_score
def test_nothing_left_is_an_error(score):
    with pytest.raises(InputError, match=r"no sample .* is left to score: no.*attack finished"):
        score([0, 1], np.eye(2), np.full((2, 2), NAN), finished=[False, False])
    with pytest.raises(InputError, match="`finished` must be booleans of shape"):
        score([0, 1], np.eye(2), np.eye(2), finished=[True])


def test_no_clean_correct_sample_is_an_error():
    with pytest.raises(InputError, match="none that an attack finished is predicted correctly"):
        robust_accuracy_on_correct_score([1], [[1.0, 0.0]], [[1.0, 0.0]])


@each_score
def test_points_outside_the_ball_stand_for_the_clean_point(score):
    y, z, z_adv = case(12, n=30)
    assert score(y, z, z_adv, admissible=np.zeros((3, 30), dtype=bool)) == score(y, z, z)
    only_first = np.array([True, False, False])[:, None].repeat(30, axis=1)
    assert score(y, z, z_adv, admissible=only_first) == score(y, z, z_adv[0])
    assert score(y, z, z_adv, admissible=torch.tensor(only_first)) == score(y, z, z_adv[0])


def test_a_tie_goes_to_the_first_class():
    tie, clean = [[1.0, 1.0, 0.0]] * 2, [[2.0, 1.0, 0.0], [1.0, 2.0, 0.0]]
    assert prediction_robustness_score([0, 1], clean, tie) == 0.5
    assert robust_accuracy_score([0, 1], clean, tie) == 0.5
    assert robust_accuracy_score([0, 1], [[0.0], [0.0]], [[0.0], [0.0]]) == 0.5


def test_impossible_classes_are_no_nan():
    clean, adv = [[1.0, -math.inf], [1.0, -math.inf]], [[1.0, -math.inf], [-math.inf, 1.0]]
    assert loss_change_robustness_score([0, 0], clean, adv, epsilon=1e300) == 0.5
    assert robust_accuracy_score([0, 0], clean, adv) == 0.5


def test_eps_is_answered_by_the_two_words():
    with pytest.raises(ParameterError, match="the radius is `delta`, the tolerated loss change is `epsilon`"):
        loss_change_robustness_score([0], [LABEL_0], [LABEL_0], eps=0.1)
    with pytest.raises(TypeError, match="epsilon"):
        loss_change_robustness_score([0], [LABEL_0], [LABEL_0])


@pytest.mark.parametrize(
    ("epsilon", "words"),
    [
        (-0.1, "at least 0"),
        (NAN, "finite"),
        ([0.1, 0.2], "must be a number in nats"),
        ("a", "number in nats"),
    ],
)
def test_bad_epsilon(epsilon, words):
    with pytest.raises(InputError, match=words):
        loss_change_robustness_score([0], [LABEL_0], [LABEL_0], epsilon=epsilon)


GOOD = {"y": [0, 1], "z": [[1.0, 0.0], [0.0, 1.0]], "z_adv": [[1.0, 0.0], [0.0, 1.0]]}
BAD = {
    "vector": ({"z": [1.0, 2.0]}, r"`logits` must have shape \(n, k\), .* got \(2,\); .* scores\[:, None\]"),
    "stack of clean logits": ({"z": [GOOD["z"]]}, r"`logits` must have shape \(n, k\)"),
    "empty": ({"y": [], "z": np.zeros((0, 2)), "z_adv": np.zeros((0, 2))}, "at least one sample"),
    "adversarial vector": ({"z_adv": [1.0, 2.0]}, r"`logits_adv` must have shape .* for m attacks"),
    "other n": (
        {"z_adv": [[1.0, 0.0]] * 3},
        "`logits_adv` has 3 samples and 2 classes, `logits` has 2 and 2",
    ),
    "other k": ({"z_adv": [[1.0, 0.0, 0.0]] * 2}, "`logits_adv` has 2 samples and 3 classes"),
    "other n in stack": ({"z_adv": [[[1.0, 0.0]]]}, "`logits_adv` has 1 sample"),
    "no attacks": ({"z_adv": np.zeros((0, 2, 2))}, "`logits_adv` must have shape"),
    "few labels": ({"y": [0]}, "`y_true` has 1 label for 2 samples"),
    "label range": ({"y": [0, 2]}, "`y_true` has labels from 0 to 2"),
    "soft labels": ({"y": [[0.5, 0.5], [0.0, 1.0]]}, "`y_true` has soft labels"),
    "words": ({"z": [["a", "b"], ["c", "d"]]}, "expected an array of numbers"),
    "mask shape": ({"admissible": [True]}, r"`admissible` must be booleans of shape \(2,\)"),
    "mask of numbers": ({"admissible": [0.1, 0.2]}, "pass distance <= delta"),
    "negative weight": ({"sample_weight": [2, -1]}, "`sample_weight` must be finite, at least 0"),
    "NaN weight": ({"sample_weight": [1, NAN]}, "`sample_weight` must be finite"),
    "zero weights": ({"sample_weight": [0, 0]}, "not all 0"),
    "few weights": ({"sample_weight": [1]}, r"`sample_weight` must have shape \(2,\), got \(1,\)"),
}


@each_score
@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD.keys())
def test_bad_input_says_what_is_wrong(score, change, words):
    assert score(*GOOD.values()) in (0.0, 1.0)
    call = GOOD | change
    with pytest.raises(InputError, match=words):
        score(call.pop("y"), call.pop("z"), call.pop("z_adv"), **call)


def test_public_names_are_listed():
    public = {n for n, v in vars(art_flat.scores).items() if not n.startswith("_") and callable(v)}
    assert public == set(art_flat.scores.__all__)
    assert all(getattr(art_flat.scores, n).__doc__ for n in public)
