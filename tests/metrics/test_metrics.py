"""Metrics on real ART classifiers, against what the scores and slow references say of the same points."""

import math

import numpy as np
import pytest
import references
import torch
from art.attacks.evasion import DeepFool, FastGradientMethod, ProjectedGradientDescent
from art.estimators.classification import PyTorchClassifier
from art.estimators.classification.scikitlearn import ScikitlearnLogisticRegression
from sampling import slow
from tolerances import close, near
from torch import nn

import art_flat as af
from art_flat import metrics, scores
from art_flat.attacks import Attack, AttackInfo
from art_flat.errors import (
    AttackNotUsableError,
    BudgetError,
    InputError,
    ParameterError,
    UnknownNameError,
    UnsupportedEstimatorError,
)

DELTA = 0.15
POINT_METRICS = [
    metrics.loss_increase,
    metrics.prediction_change_robustness,
    metrics.minimum_loss_increase,
    metrics.adversarial_flatness,
    metrics.relative_sharpness,
]
OPTIONS = {
    metrics.loss_change_robustness: {"epsilon": 0.5},
    metrics.certified_loss_change_robustness: {"epsilon": 0.5, "delta": 0.001},
}
WITH_POINTS = [*POINT_METRICS, metrics.loss_change_robustness]
EVERY = [*WITH_POINTS, metrics.certified_loss_change_robustness]


def name(metric):
    return metric.__name__


@pytest.fixture(scope="module")
def points(digits):
    """Two sets of adversarial points inside the L∞ ball, made by ART itself on the raw classifier."""
    net, x, y = digits
    with torch.random.fork_rng():
        pgd = ProjectedGradientDescent(net.estimator, eps=DELTA, eps_step=0.05, max_iter=5, verbose=False)
        return [pgd.generate(x, y), FastGradientMethod(net.estimator, eps=DELTA).generate(x, y)]


@pytest.fixture(scope="module")
def reference(digits, points):
    """Δℓ, wrong, prediction change and log κ per set and sample, from logits in plain Python."""
    net, x, y = digits

    def loss(z):
        return np.array([references.cross_entropy(row, label) for row, label in zip(z, y, strict=True)])

    def log_kappa(at):
        z, phi = (torch.as_tensor(v) for v in (net.logits(at), net.features(at)))
        return references.log_relative_sharpness(z, phi, net.head.weight.detach(), "paper").numpy()

    z, z_adv = net.logits(x), [net.logits(p) for p in points]
    return {
        "change": np.stack([loss(v) for v in z_adv]) - loss(z),
        "wrong": np.stack([v.argmax(1) != y for v in z_adv]),
        "moved": np.stack([v.argmax(1) != z.argmax(1) for v in z_adv]),
        "right": z.argmax(1) == y,
        "log_kappa": log_kappa(x),
        "log_kappa_adv": np.stack([log_kappa(p) for p in points]),
    }


def call(metric, *args, **options):
    return metric(*args, **{**OPTIONS.get(metric, {}), **options})


def scripted(run, norms=("Linf",), **facts):
    class Scripted(Attack):
        def run(self, problem):
            return run(problem)

    info = AttackInfo(name="test:Scripted", build=lambda **p: Scripted(info, p), norms=norms, **facts)
    return info.build()


def test_loss_increase_is_the_worst_of_all_points(digits, points, reference):
    net, x, y = digits
    each = metrics.loss_increase(net.estimator, x, y, x_adv=points, reduction="none")
    expected = np.maximum(reference["change"].max(axis=0), 0)
    assert each.dtype == np.float64
    np.testing.assert_allclose(each, expected, **close("net"))
    assert expected.max() > 1
    single = metrics.loss_increase(net.estimator, x, y, x_adv=points[1])
    assert isinstance(single, float)
    assert single == near(np.maximum(reference["change"][1], 0).mean(), "net")
    low, high = (
        metrics.loss_increase(net, x, y, x_adv=points, reduction="quantile", quantile=q) for q in (0.0, 1.0)
    )
    assert (low, high) == (each.min(), each.max())


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0])
def test_loss_change_robustness(digits, points, reference, epsilon):
    net, x, y = digits
    share = metrics.loss_change_robustness(net.estimator, x, y, x_adv=points, epsilon=epsilon)
    assert share == pytest.approx((reference["change"].max(axis=0) <= epsilon).mean())
    z_adv = np.stack([net.logits(p) for p in points])
    assert share == pytest.approx(
        scores.loss_change_robustness_score(y, net.logits(x), z_adv, epsilon=epsilon)
    )
    each = metrics.loss_change_robustness(net, x, y, x_adv=points, epsilon=epsilon, reduction="none")
    assert set(each) <= {0.0, 1.0}
    assert each.mean() == pytest.approx(share)


def test_an_increase_of_just_epsilon_is_tolerated(digits, points):
    net, x, y = digits
    each = metrics.loss_increase(net, x, y, x_adv=points, reduction="none")
    largest = float(each.max())
    assert metrics.loss_change_robustness(net, x, y, x_adv=points, epsilon=largest) == 1
    below = metrics.loss_change_robustness(net, x, y, x_adv=points, epsilon=largest * (1 - 1e-9))
    assert below == pytest.approx(23 / 24)
    assert metrics.loss_change_robustness(net, x, y, x_adv=x, epsilon=0) == 1


def test_prediction_change_robustness(digits, points, reference):
    net, x, y = digits
    share = metrics.prediction_change_robustness(net.estimator, x, y, x_adv=points)
    assert share == pytest.approx((~reference["moved"].any(axis=0)).mean())
    assert 0 < share < 1
    # what is wrong already and stays so has not changed
    moved = metrics.prediction_change_robustness(net, x, (y + 1) % 10, x_adv=points, reduction="none")
    np.testing.assert_array_equal(moved, ~reference["moved"].any(axis=0))


def test_minimum_loss_increase(digits, points, reference):
    net, x, y = digits
    change = np.where(reference["wrong"], reference["change"], math.inf).min(axis=0)
    expected = np.where(reference["right"], change, np.minimum(change, 0))
    each = metrics.minimum_loss_increase(net.estimator, x, y, x_adv=points, reduction="none")
    np.testing.assert_allclose(each, expected, **close("net"))
    assert np.isinf(expected).any()
    assert metrics.minimum_loss_increase(net, x, y, x_adv=points) == np.sort(each)[11]
    assert metrics.minimum_loss_increase(net, x, y, x_adv=points, quantile=1.0) == math.inf


def test_adversarial_flatness_is_read_where_the_loss_is_largest(digits, points, reference):
    net, x, y = digits
    worst = reference["change"].argmax(axis=0)
    columns = np.arange(len(x))
    adversarial = reference["right"] & reference["wrong"][worst, columns]
    ratio = np.exp(reference["log_kappa_adv"][worst, columns] - reference["log_kappa"])
    each = metrics.adversarial_flatness(net.estimator, x, y, x_adv=points, reduction="none")
    np.testing.assert_allclose(each[adversarial], ratio[adversarial], **close("gradient"))
    assert np.isnan(each[~adversarial]).all()
    assert 3 < adversarial.sum() < len(x)
    kept = np.sort(each[adversarial])
    assert metrics.adversarial_flatness(net, x, y, x_adv=points) == kept[(len(kept) - 1) // 2]
    same = metrics.adversarial_flatness(net, x, y, x_adv=points, definition="unsquared", reduction="none")
    np.testing.assert_allclose(same, each, rtol=1e-12)
    other = metrics.adversarial_flatness(net, x, y, x_adv=points, definition="neuronwise", reduction="none")
    assert not np.allclose(other[adversarial], each[adversarial], rtol=1e-2)


def test_no_adversarial_example_is_an_error(digits):
    net, x, y = digits
    with pytest.raises(InputError, match="no adversarial example whose flatness could be measured"):
        metrics.adversarial_flatness(net, x, y, x_adv=x)
    assert np.isnan(metrics.adversarial_flatness(net, x, y, x_adv=x, reduction="none")).all()


@pytest.mark.parametrize("definition", ["paper", "neuronwise", "unsquared"])
def test_relative_sharpness_at_clean_points(digits, definition):
    net, x, _ = digits
    z, phi = (torch.as_tensor(v) for v in (net.logits(x), net.features(x)))
    expected = references.log_relative_sharpness(z, phi, net.head.weight.detach(), definition).exp().numpy()
    each = metrics.relative_sharpness(net.estimator, x, definition=definition, reduction="none")
    np.testing.assert_allclose(each, expected, **close("head", scale=0))
    mean = metrics.relative_sharpness(net.estimator, x, definition=definition)
    assert mean == near(expected.mean(), "head", scale=0)
    median = metrics.relative_sharpness(net, x, definition=definition, reduction="quantile")
    assert median == near(np.sort(expected)[11], "head", scale=0)


def test_relative_sharpness_at_adversarial_points(digits, points, reference):
    net, x, y = digits
    worst, columns = reference["change"].argmax(axis=0), np.arange(len(x))
    expected = np.exp(reference["log_kappa_adv"][worst, columns])
    each = metrics.relative_sharpness(net, x, y, x_adv=points, reduction="none")
    np.testing.assert_allclose(each, expected, **close("gradient"))
    assert (reference["change"].max(axis=0) > 0).any()
    np.testing.assert_allclose(
        metrics.relative_sharpness(net, x, y, x_adv=points[0], reduction="none"),
        net.relative_sharpness(points[0]),
        **close("net"),
    )
    with pytest.raises(InputError, match="`y` is missing"):
        metrics.relative_sharpness(net, x, x_adv=points)


def test_certificate_against_a_slow_bound(linear):
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, 3)).astype(np.float32)
    net, x, y = linear(weight), rng.uniform(size=(20, 3)).astype(np.float32), rng.integers(0, 2, 20)
    gap = np.linalg.norm(weight[0].astype(float) - weight[1])
    each = []
    for point, label in zip(x.astype(float), y, strict=True):
        margin = weight[label].astype(float) @ point - weight[1 - label].astype(float) @ point
        # two classes, features = inputs: the largest loss in the L2 ball has margin − r ‖w_0 − w_1‖
        each.append(math.log1p(math.exp(-(margin - 0.2 * gap))) - math.log1p(math.exp(-margin)))
    epsilon = float(np.median(each))
    got = metrics.certified_loss_change_robustness(
        net, x, y, delta=0.2, norm="L2", epsilon=epsilon, reduction="none"
    )
    np.testing.assert_array_equal(got, np.array(each) <= epsilon)
    assert 0 < got.mean() < 1
    # L∞ ball of radius δ lies in the L2 ball of radius δ √3; the L1 ball in the L2 ball of radius δ
    inf = metrics.certified_loss_change_robustness(
        net, x, y, delta=0.2 / math.sqrt(3) * (1 - 1e-9), norm="Linf", epsilon=epsilon, lipschitz=1.0
    )
    one = metrics.certified_loss_change_robustness(
        net, x, y, delta=0.2, norm="L1", epsilon=epsilon, lipschitz=1.0
    )
    assert inf == one == got.mean()


@pytest.mark.slow
def test_certificate_is_below_every_attack(digits):
    net, x, y = digits
    epsilons = [0.01, 0.1, 1.0]
    for delta in (0.002, 0.01):
        for epsilon in epsilons:
            lower = metrics.certified_loss_change_robustness(net, x, y, delta=delta, epsilon=epsilon)
            upper = metrics.loss_change_robustness(
                net, x, y, attack="art_flat:PGD(steps=5)", delta=delta, epsilon=epsilon
            )
            assert lower <= upper
    assert metrics.certified_loss_change_robustness(net, x, y, delta=1e-5, epsilon=1.0) == 1
    looser = metrics.certified_loss_change_robustness(net, x, y, delta=1e-3, epsilon=0.1, lipschitz=1e4)
    assert looser == 0


def test_certificate_refusals(digits):
    net, x, y = digits
    with pytest.raises(InputError, match="no Lipschitz constant in L0"):
        metrics.certified_loss_change_robustness(net, x, y, delta=1, epsilon=1, norm="L0")
    with pytest.raises(UnknownNameError, match="unknown sound bound 'paper'"):
        metrics.certified_loss_change_robustness(net, x, y, delta=1, epsilon=1, kind="paper")
    with pytest.raises(InputError, match="`lipschitz` must be greater than 0"):
        metrics.certified_loss_change_robustness(net, x, y, delta=1, epsilon=1, lipschitz=-1)


@pytest.mark.parametrize("metric", WITH_POINTS, ids=name)
def test_raw_or_adapted_and_every_form_of_labels_and_arrays(digits, points, metric):
    net, x, y = digits
    plain = call(metric, net.estimator, x, y, x_adv=points, reduction="none")
    assert isinstance(plain, np.ndarray)
    assert plain.shape == (len(x),)
    adapted = call(metric, net, x, y, x_adv=points, reduction="none")
    one_hot = call(metric, net, x, np.eye(10)[y], x_adv=points, reduction="none")
    tensors = call(
        metric, net, torch.tensor(x), torch.tensor(y), x_adv=[torch.tensor(p) for p in points],
        reduction="none",
    )  # fmt: skip
    assert isinstance(tensors, torch.Tensor)
    for other in (adapted, one_hot, tensors.numpy()):
        np.testing.assert_array_equal(plain, other)
    order = np.random.default_rng(0).permutation(len(x))
    mixed = call(metric, net, x[order], y[order], x_adv=[p[order] for p in points], reduction="none")
    np.testing.assert_allclose(mixed, plain[order], **close("net", scale=10))
    assert isinstance(call(metric, net.estimator, x, y, x_adv=points), float)


def test_certified_takes_raw_and_one_hot_too(digits):
    net, x, y = digits
    got = [
        call(metrics.certified_loss_change_robustness, c, v, w, reduction="none")
        for c, v, w in ((net, x, y), (net.estimator, torch.tensor(x), np.eye(10)[y]))
    ]
    assert isinstance(got[1], torch.Tensor)
    np.testing.assert_array_equal(got[0], got[1].numpy())


def test_attack_by_name_is_the_attack_itself(digits):
    net, x, y = digits
    pgd = af.load_attack("art_flat:PGD(steps=5)")
    adv = pgd(net, x, y, delta=DELTA, norm="Linf", seed=3)
    for attack in ("art_flat:PGD(steps=5)", pgd, [pgd]):
        got = metrics.loss_increase(
            net.estimator, x, y, attack=attack, delta=DELTA, norm=np.inf, seed=3, reduction="none"
        )
        expected = np.maximum(net.loss(adv.x, y) - net.loss(x, y), 0)
        np.testing.assert_allclose(got, expected, **close("net"))


def test_art_attack_instances(digits, points):
    """ART's own attack on the raw classifier: with and without δ, at the radius it was made with."""
    net, x, y = digits
    fgsm = FastGradientMethod(net.estimator, eps=DELTA)
    given = metrics.loss_increase(net, x, y, x_adv=points[1], reduction="none")
    for delta in (None, DELTA):
        got = metrics.loss_increase(net.estimator, x, y, attack=fgsm, delta=delta, reduction="none")
        np.testing.assert_allclose(got, given, **close("net", scale=10))
    worst = metrics.loss_increase(
        net, x, y, attack=[fgsm, "art_flat:PGD(steps=5)"], delta=DELTA, reduction="none"
    )
    pgd = metrics.loss_increase(net, x, y, attack="art_flat:PGD(steps=5)", delta=DELTA, reduction="none")
    np.testing.assert_allclose(worst, np.maximum(pgd, given), **close("net", scale=10))


def test_torchattacks_instances(digits):
    torchattacks = pytest.importorskip("torchattacks")
    net, x, y = digits
    fgsm = torchattacks.FGSM(net.estimator.model, eps=DELTA)
    by_hand = fgsm(torch.tensor(x), torch.tensor(y)).detach().numpy()
    got = metrics.loss_increase(net.estimator, x, y, attack=fgsm, delta=DELTA, reduction="none")
    given = metrics.loss_increase(net, x, y, x_adv=by_hand, reduction="none")
    np.testing.assert_allclose(got, given, **close("net", scale=10))
    assert given.max() > 0.5


def test_a_function_is_an_attack_too(digits):
    net, x, y = digits

    def darker(module, x, y):
        return x * 0.9

    got = metrics.loss_increase(net, x, y, attack=darker, reduction="none")
    given = metrics.loss_increase(net, x, y, x_adv=x * np.float32(0.9), reduction="none")
    np.testing.assert_allclose(got, given, **close("net", scale=10))


def test_points_of_an_attack_outside_the_ball_count_as_clean(digits):
    net, x, y = digits
    strong = FastGradientMethod(net.estimator, eps=0.3)
    with pytest.warns(
        metrics.OutsideBallWarning, match=r"24 of 24 points of own:Fast.*radius 0.1 .up to 0.3"
    ):
        each = metrics.loss_increase(net, x, y, attack=strong, delta=0.1, reduction="none")
    assert (each == 0).all()
    with pytest.warns(metrics.OutsideBallWarning):
        assert metrics.prediction_change_robustness(net, x, y, attack=strong, delta=0.1) == 1
    with pytest.warns(metrics.OutsideBallWarning):
        smallest = metrics.minimum_loss_increase(net, x, y, attack=strong, delta=0.1, reduction="none")
    assert np.isinf(smallest[np.asarray(net.predict(x)) == y]).all()


@pytest.mark.slow
def test_minimum_norm_attack_in_another_norm(digits):
    """DeepFool minimises L2; what lies in the L∞ ball counts there."""
    net, x, y = digits
    deepfool = af.load_attack("art:DeepFool(max_iter=20)")
    adv = deepfool(net, x, y)
    inside = np.abs(adv.x - x).max(axis=(1, 2, 3)) <= 0.2
    assert 0 < inside.sum() < len(x)
    expected = np.where(inside, np.maximum(net.loss(adv.x, y) - net.loss(x, y), 0), 0)
    got = metrics.loss_increase(net, x, y, attack=deepfool, delta=0.2, norm="Linf", reduction="none")
    np.testing.assert_allclose(got, expected, **close("net"))
    instance = DeepFool(net.estimator, max_iter=20, verbose=False)
    same = metrics.minimum_loss_increase(net, x, y, attack=instance, reduction="none")
    by_name = metrics.minimum_loss_increase(net, x, y, attack=deepfool, reduction="none")
    right = np.asarray(net.predict(x)) == y  # only the plugin leaves a misclassified point alone
    found = np.isfinite(same) & np.isfinite(by_name) & right
    assert found.sum() >= 20
    np.testing.assert_allclose(same[found], by_name[found], **close("steps"))


def test_failed_points_are_left_out(digits):
    net, x, y = digits

    def half(problem):
        points = problem.x.clone()
        points[::2] = torch.nan
        return points

    each = metrics.loss_change_robustness(
        net, x, y, attack=scripted(half), delta=0.1, epsilon=0.1, reduction="none"
    )
    assert np.isnan(each[::2]).all()
    assert (each[1::2] == 1).all()
    for metric in WITH_POINTS:
        got = call(metric, net, x, y, attack=scripted(half), delta=0.1, reduction="none")
        assert np.isnan(got[::2]).all(), metric
    everything = scripted(lambda p: p.x * torch.nan)
    with pytest.raises(InputError, match="no sample with a positive weight is left"):
        metrics.loss_change_robustness(net, x, y, attack=everything, delta=0.1, epsilon=0.1)


def test_several_norms(digits):
    net, x, y = digits
    l2, inf = (scripted(lambda p: p.x, norms=(n,)) for n in ("L2", "Linf"))
    l2.info = AttackInfo(name="test:Other", build=l2.info.build, norms=("L2",))
    with pytest.raises(InputError, match=r"several norms \(L2, Linf\); pass the norm"):
        metrics.loss_increase(net, x, y, attack=[l2, inf], delta=0.1)
    with pytest.warns(metrics.AttackNotRunWarning, match=r"do not support L2: .* \(supports Linf\)"):
        assert metrics.loss_increase(net, x, y, attack=[l2, inf], delta=0.1, norm="L2") == 0
    with pytest.raises(AttackNotUsableError, match="does not support the norm L1"):
        metrics.loss_increase(net, x, y, attack=l2, delta=0.1, norm="L1")


def test_scikit_learn_classifier():
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    x, y = load_iris(return_X_y=True)
    x = x / 8
    classifier = ScikitlearnLogisticRegression(LogisticRegression(max_iter=500).fit(x, y), clip_values=(0, 1))
    x_adv = FastGradientMethod(classifier, eps=0.05).generate(x)
    got = metrics.loss_increase(classifier, x, y, x_adv=x_adv, delta=0.05, reduction="none")
    p, p_adv = (classifier.predict(v)[np.arange(len(y)), y] for v in (x, x_adv))
    np.testing.assert_allclose(got, np.maximum(np.log(p) - np.log(p_adv), 0), **close("net", scale=10))
    assert got.mean() > 0.05
    assert metrics.certified_loss_change_robustness(classifier, x, y, delta=1e-6, epsilon=0.1) == 1


@pytest.mark.parametrize("metric", EVERY, ids=name)
def test_eps_is_answered(digits, metric):
    net, x, y = digits
    with pytest.raises(
        ParameterError, match=r"the radius is `delta`, the tolerated loss change is `epsilon`"
    ):
        metric(net, x, y, eps=0.1)


@pytest.mark.parametrize("metric", [m for m in WITH_POINTS if m is not metrics.relative_sharpness], ids=name)
def test_neither_points_nor_attack(digits, metric):
    net, x, y = digits
    with pytest.raises(InputError, match="got neither of `x_adv` and `attack`"):
        call(metric, net, x, y, delta=0.1)


@pytest.mark.parametrize("metric", WITH_POINTS, ids=name)
def test_bad_input(digits, metric):
    net, x, y = digits

    def refuses(error, match, *args, **options):
        with pytest.raises(error, match=match):
            call(metric, *(args or (net, x, y)), **options)

    refuses(InputError, "got both of `x_adv` and `attack`", x_adv=x, attack="art_flat:PGD", delta=0.1)
    refuses(InputError, r"`x_adv` must have shape \(n, 1, 8, 8\)", x_adv=x[:, :, 1:])
    refuses(InputError, "`x_adv` has 5 points for 24 samples", x_adv=x[:5])
    refuses(InputError, r"`x_adv\[1\]` has 5 points for 24 samples", x_adv=[x, x[:5]])
    refuses(InputError, r"`x_adv\[0\]` is one sample", x_adv=list(x))
    refuses(InputError, "`x_adv` is an empty list", x_adv=[])
    refuses(InputError, "`x_adv` has values from .* the classifier's clip_values are 0 to 1", x_adv=x + 1)
    refuses(InputError, "NaN or infinite", x_adv=np.where(x > 0.5, np.nan, x))
    refuses(InputError, "23 labels for 24 samples", net, x, y[:-1], x_adv=x)
    refuses(InputError, "must be greater than 0", x_adv=x, delta=0)
    refuses(UnknownNameError, "unknown norm 'L3'", x_adv=x, delta=0.1, norm="L3")
    refuses(UnknownNameError, "unknown reduction 'sum'", x_adv=x, reduction="sum")
    refuses(UnknownNameError, "unknown attack 'art_flat:PDG'", attack="art_flat:PDG", delta=0.1)
    refuses(InputError, "needs `delta`", attack="art_flat:PGD")
    refuses(InputError, "cannot attack with 3", attack=3, delta=0.1)
    refuses(UnsupportedEstimatorError, "bare nn.Module", nn.Linear(2, 2), x, y, x_adv=x)


@pytest.mark.parametrize("metric", WITH_POINTS, ids=name)
def test_points_outside_the_ball(digits, metric):
    net, x, y = digits
    x_adv = x.copy()
    x_adv[3, 0, 0, 0], x_adv[7, 0, 0, :2] = 0.25, 0.125
    words = (
        r"2 of 24 points of `x_adv` lie outside the Linf ball of radius 0.1, by up to 0.15 \(sample 3: 0.25\)"
    )
    with pytest.raises(BudgetError, match=words):
        call(metric, net, x, y, x_adv=x_adv, delta=0.1)
    with pytest.raises(BudgetError, match=r"1 of 24 points of `x_adv\[1\]` lie outside the L2 ball"):
        call(metric, net, x, y, x_adv=[x, x_adv], delta=0.2, norm="L2", reduction="none")
    call(metric, net, x, y, x_adv=x_adv, delta=0.25, norm="L2", reduction="none")


def test_rounding_is_no_reason_to_refuse(digits):
    net, x, y = digits
    x_adv = np.clip(x + np.float32(8 / 255) * (1 + np.float32(1e-5)), 0, 1)
    assert np.abs(x_adv.astype(float) - x).max() > 8 / 255
    got = metrics.loss_increase(net, x, y, x_adv=x_adv, delta=8 / 255, reduction="none")
    free = metrics.loss_increase(net, x, y, x_adv=x_adv, reduction="none")
    np.testing.assert_allclose(got, free, **close("net", scale=10))


def test_classifier_and_random_state_are_left_alone(digits):
    _, x, y = digits
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 10))
    classifier = PyTorchClassifier(
        model, nn.CrossEntropyLoss(), (1, 8, 8), nb_classes=10, clip_values=(0, 1), device_type="cpu"
    )
    model.train()
    state = torch.get_rng_state()
    attack = ProjectedGradientDescent(classifier, eps=0.1, max_iter=2, verbose=False)
    a = metrics.loss_increase(classifier, x, y, attack=attack, delta=0.1, seed=1)
    b = metrics.loss_increase(classifier, x, y, attack=attack, delta=0.1, seed=1)
    assert a == b
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("norm", [slow("Linf"), "L2", slow("L1")])
def test_input_radius_is_the_inverse_of_the_certificate(digits, norm):
    """At the radius every sample is certified, a hair beyond it none; and no attack inside it does more."""
    net, x, y = digits
    radius = metrics.input_radius(net, x, y, 0.5, norm=norm)
    constant = net.lipschitz(norm)
    for i, delta in enumerate(radius[:6]):
        one = (net, x[i : i + 1], y[i : i + 1])
        # derived there as well, for one sample: it takes most of the time
        lipschitz = None if i == 0 else constant
        for factor, certified in ((1 - 1e-5, 1), (1.001, 0)):
            share = metrics.certified_loss_change_robustness(
                *one, delta=delta * factor, epsilon=0.5, norm=norm, lipschitz=lipschitz
            )
            assert share == certified
    if norm != "L1":
        adv = af.load_attack("art_flat:APGD(steps=20)")(net, x, y, delta=float(radius.max()), norm=norm)
        inside = np.asarray(adv.distance) <= radius
        assert (np.asarray(net.loss(adv.x, y)) - np.asarray(net.loss(x, y)))[inside].max(initial=0) <= 0.5
    assert (metrics.input_radius(net, x, y, 0.0, norm=norm) == 0).all()
    halved = metrics.input_radius(net, x, y, 0.5, norm="L2", lipschitz=2 * net.lipschitz("L2").value)
    np.testing.assert_allclose(halved, metrics.input_radius(net, x, y, 0.5, norm="L2") / 2, rtol=1e-12)
    with pytest.raises(ValueError, match="at least 0"):
        metrics.input_radius(net, x, y, -1.0)
    with pytest.raises(ValueError, match="greater than 0"):
        metrics.input_radius(net, x, y, 0.1, lipschitz=-2.0)
