"""`FlatnessEvaluation` beside ART's own `SecurityCurve`, on a real ART classifier."""

import inspect
import math

import numpy as np
import pandas as pd
import pytest
import torch
from art.attacks.evasion import ProjectedGradientDescent
from art.estimators.classification import PyTorchClassifier
from art.evaluations.evaluation import Evaluation
from art.evaluations.security_curve import SecurityCurve
from torch import nn

from art_flat.errors import InputError, ParameterError
from art_flat.evaluation import FlatnessEvaluation, Results
from art_flat.models import as_classifier

DELTAS = [0.05, 0.15]
ATTACK = "art_flat:PGD(steps=5)"


def one_hot(y):
    return np.eye(10, dtype=np.float32)[y]


@pytest.fixture(scope="module")
def curve(digits):
    net, x, y = digits
    curve = FlatnessEvaluation(DELTAS, epsilons=[1.0, 0.1])
    curve.evaluate(net.estimator, x, one_hot(y), attacks=[ATTACK, "art_flat:APGD(steps=5)"], seed=1)
    return curve


@pytest.fixture
def pyplot():
    import matplotlib

    before = matplotlib.get_backend()
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")
    matplotlib.use(before)


@pytest.mark.slow
def test_it_goes_where_a_security_curve_goes(digits):
    """One function that knows only ART's interface runs both and gets the same kinds of things."""
    net, x, y = digits

    def use(evaluation):
        assert isinstance(evaluation, Evaluation)
        radii, robust, clean = evaluation.evaluate(net.estimator, x, one_hot(y))
        assert (evaluation.eps_list, evaluation.accuracy_adv_list, evaluation.accuracy) == (
            radii,
            robust,
            clean,
        )
        assert callable(evaluation.plot)
        assert type(evaluation).__name__ in repr(evaluation)
        return radii, robust, clean, evaluation.detected_obfuscating_gradients

    ours = use(FlatnessEvaluation(2))
    theirs = use(SecurityCurve(eps=2))
    assert ours[0] == theirs[0] == [0.5, 1.0]
    assert [type(v) for v in ours] == [type(v) for v in theirs]
    assert all(type(a) is float for a in ours[1])
    assert ours[2] == pytest.approx(theirs[2])
    assert ours[3] is theirs[3] is False
    assert (np.array(ours[1]) <= np.array(theirs[1])).all()


def test_abstract_methods_are_there():
    assert not inspect.isabstract(FlatnessEvaluation)


def test_robust_accuracy_is_what_the_attacks_leave(digits, curve):
    net, x, y = digits
    assert curve.delta_list == DELTAS
    assert curve.accuracy == pytest.approx((net.predict(x) == y).mean())
    records = curve.results.adversarial
    for delta, accuracy in zip(DELTAS, curve.accuracy_adv_list, strict=True):
        inside = records[records["linf"] <= delta]
        wrong = {s for s, p in zip(inside["sample"], inside["pred"], strict=True) if p != y[s]}
        right = [net.predict(x[i : i + 1])[0] == y[i] and i not in wrong for i in range(len(x))]
        assert accuracy == pytest.approx(np.mean(right))
    assert curve.accuracy >= curve.accuracy_adv_list[0] > curve.accuracy_adv_list[1]


def test_surface_is_read_from_the_records(digits, curve):
    net, x, y = digits
    epsilons = [0.0, 0.1, 1.0, 5.0]
    surface = curve.surface(epsilons)
    assert surface.shape == (2, 4)
    assert list(surface.index) == DELTAS
    assert list(surface.columns) == epsilons
    clean = net.loss(x, y)
    for delta in DELTAS:
        inside = curve.results.adversarial[lambda t, d=delta: t["linf"] <= d]
        worst = np.zeros(len(x))
        for sample, loss in zip(inside["sample"], inside["loss"], strict=True):
            worst[sample] = max(worst[sample], loss - clean[sample])
        expected = [(worst <= e).mean() for e in epsilons]
        np.testing.assert_allclose(surface.loc[delta], expected)
    assert (surface.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    assert (surface.diff(axis=0).iloc[1:] <= 0).all(axis=None)
    pd.testing.assert_frame_equal(curve.surface(), curve.surface([0.1, 1.0]))
    certified = curve.surface(epsilons, certified=True)
    assert (certified <= surface).all(axis=None)


def test_results_are_kept_and_saved(digits, curve, tmp_path):
    net, x, y = digits
    assert isinstance(curve.results, Results)
    other = FlatnessEvaluation("0.1", epsilons=[0.1], check_gradients=False)
    seen = []
    radii, robust, _ = other.evaluate(
        net, torch.tensor(x), y, attacks=ATTACK, out=tmp_path / "run", progress=seen.append
    )
    assert radii == [0.1]
    assert len(robust) == 1
    assert [p.done for p in seen if not p.note] == [0, 0, 1]
    loaded = Results.load(tmp_path / "run")
    pd.testing.assert_frame_equal(loaded.adversarial, other.results.adversarial, check_dtype=False)
    with pytest.raises(InputError, match="gradients were not checked"):
        _ = other.detected_obfuscating_gradients


@pytest.mark.slow
def test_art_attack_instance(digits):
    net, x, y = digits
    pgd = ProjectedGradientDescent(net.estimator, eps=0.2, eps_step=0.05, max_iter=5, verbose=False)
    curve = FlatnessEvaluation([0.1, 0.3], check_gradients=False)
    _, robust, clean = curve.evaluate(net.estimator, x, y, attacks=pgd)
    x_adv = pgd.generate(x, y)
    assert robust[0] == clean  # made with eps = 0.2, so nothing lies within 0.1
    assert robust[1] == pytest.approx((net.predict(x_adv) == y).mean(), abs=0.1)


def test_masked_gradients_are_detected(digits):
    """A net whose gradients are exactly zero cannot be attacked with them, though noise would do."""

    class Staircase(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model(torch.round(x * 4) / 4)

    net, x, y = digits
    right = np.asarray(net.predict(x)) == y
    masked = as_classifier(Staircase(net.estimator.model), input_shape=(1, 8, 8), nb_classes=10)
    curve = FlatnessEvaluation([0.01])
    curve.evaluate(masked, x[right], y[right], attacks="art_flat:PGD(steps=5, random_start=False)")
    assert curve.detected_obfuscating_gradients is True


def test_steps_over_the_clip_range(linear):
    x, y = np.full((3, 2), 128.0, dtype=np.float32), np.zeros(3, dtype=int)
    net = linear([[0.01, 0.0], [0.0, 0.01]], clip_values=(0.0, 255.0))
    curve = FlatnessEvaluation(5, norm="L2")
    radii, _, _ = curve.evaluate(net, x, y, attacks=ATTACK)
    np.testing.assert_allclose(radii, [51, 102, 153, 204, 255])
    assert sorted(curve.results.facts["deltas"]["L2"])[-1] == pytest.approx(255 * math.sqrt(2))


@pytest.mark.parametrize(
    ("deltas", "match"),
    [
        (0, "at least 1, got 0"),
        ([], "`deltas` has no radius"),
        ([0.1, -0.1], "must be greater than 0"),
        (["x"], "must be a number"),
        (math.nan, "must be finite"),
    ],
)
def test_bad_radii(deltas, match):
    with pytest.raises(InputError, match=match):
        FlatnessEvaluation(deltas)


def test_bad_input(digits):
    net, x, y = digits
    with pytest.raises(ParameterError, match="the radius is `delta`, the tolerated loss change is `epsilon`"):
        FlatnessEvaluation(eps=[0.1])
    with pytest.raises(InputError, match="`epsilon` must be at least 0"):
        FlatnessEvaluation(0.1, epsilons=[-1])
    fresh = FlatnessEvaluation(0.1)
    for read in (fresh.surface, fresh.plot, lambda: fresh.detected_obfuscating_gradients):
        with pytest.raises(InputError, match="nothing has been evaluated yet"):
            read()
    with pytest.raises(ParameterError, match=r"evaluate\(\) has no parameter 'eps'"):
        fresh.evaluate(net, x, y, eps=0.1)
    with pytest.raises(InputError, match="23 labels for 24 samples"):
        fresh.evaluate(net, x, y[1:])
    bare = PyTorchClassifier(net.estimator.model, nn.CrossEntropyLoss(), (1, 8, 8), nb_classes=10)
    with pytest.raises(InputError, match="no clip_values"):
        FlatnessEvaluation(3).evaluate(bare, x, y)


def test_repr():
    text = repr(FlatnessEvaluation([0.2, 0.1], epsilons=[0.5], norm=2))
    assert text == (
        "art_flat.evaluation.art.FlatnessEvaluation(deltas=[0.1, 0.2], epsilons=[0.5], norm='L2')"
    )


def test_plot(curve, pyplot):
    figure = curve.plot()
    left, right = figure.axes[:2]
    lines = {line.get_label(): line.get_ydata() for line in left.get_lines()}
    np.testing.assert_allclose(lines["robust accuracy"], curve.accuracy_adv_list)
    np.testing.assert_allclose(lines["Δℓ ≤ 0.1 nats"], curve.surface()[0.1])
    assert "δ (L∞, clip units)" in left.get_xlabel()
    assert right.get_ylabel() == "ε (nats)"
    assert right.collections[0].get_array().size == 2 * 60
    assert left.get_title() == "No sign of obfuscated gradients"
    figure.canvas.draw()
