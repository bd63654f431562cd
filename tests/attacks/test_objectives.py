"""The objectives of art_flat:APGD against a grid search in two dimensions, with κ by its plain formula."""

import numpy as np
import pytest

import art_flat as af
from art_flat.analysis import ScaledHead
from art_flat.errors import InputError, ParameterError

WEIGHT = np.array([[3.0, -2.0], [-3.0, 4.0], [1.0, -6.0]], np.float32)
CENTRE, LABEL, DELTA = np.array([[0.62, 0.5]], np.float32), np.array([0]), 0.2


def quantities(x):
    """Loss of label 0, whether the prediction is wrong, log‖φ‖ and log κ of points (m, 2)."""
    x = x.astype(np.float64)
    z = x @ WEIGHT.T.astype(np.float64)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    length = np.log(np.linalg.norm(x, axis=1))
    log_kappa = 2 * length + np.log((p * (1 - p)).sum(axis=1)) + np.log((WEIGHT**2).sum())
    return -np.log(p[:, 0]), z.argmax(axis=1) != 0, length, log_kappa


def grid(norm):
    axis = np.linspace(-DELTA, DELTA, 401)
    shift = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    length = np.abs(shift).max(axis=1) if norm == "Linf" else np.linalg.norm(shift, axis=1)
    return quantities(CENTRE + shift[length <= DELTA])


LOW, HIGH = 2.55, 2.7
CASES = {
    "sharp": ({"objective": "sharp"}, lambda loss, length, kappa: kappa),
    "flat": ({"objective": "flat"}, lambda loss, length, kappa: -kappa),
    "detector": (
        {"objective": "detector", "score": {"log_kappa": np.float64(1.0), "log_feature_norm": -3}},
        lambda loss, length, kappa: 3 * length - kappa,
    ),
    "within": (
        {"within": {"log_kappa": (np.float64(LOW), HIGH)}},
        lambda loss, length, kappa: np.where((kappa >= LOW) & (kappa <= HIGH), loss, -np.inf),
    ),
}  # fmt: skip


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("case", CASES)
def test_as_good_as_a_grid_search_among_wrong_predictions(linear, case, norm):
    params, goal = CASES[case]
    loss, wrong, length, kappa = grid(norm)
    best = goal(loss, length, kappa)[wrong].max()
    attack = af.load_attack("art_flat:APGD", steps=60, restarts=2, **params)
    found = attack(linear(WEIGHT), CENTRE, LABEL, delta=DELTA, norm=norm)
    loss, wrong, length, kappa = quantities(found.x)
    assert wrong.all()
    assert found.success.all()
    assert goal(loss, length, kappa)[0] >= best - 0.02
    assert not attack.info.maximises_loss
    assert af.load_attack(attack.name).name == attack.name


def test_goals_are_of_the_loss_where_none_is_met(linear):
    """No point of this ball is misclassified: the one with the largest loss is returned, as without a goal."""
    net, ball = linear(WEIGHT), {"delta": 0.01, "norm": "Linf"}
    found = af.load_attack("art_flat:APGD", objective="sharp")(net, CENTRE, LABEL, **ball)
    plain = af.load_attack("art_flat:APGD")(net, CENTRE, LABEL, **ball)
    np.testing.assert_allclose(found.x, plain.x, atol=1e-6)
    assert not found.success.any()


def test_a_range_that_no_point_reaches_is_approached(linear):
    """Among wrong predictions, the one whose log κ is closest to the range."""
    _, wrong, _, kappa = grid("Linf")
    attack = af.load_attack("art_flat:APGD", within={"log_kappa": (-50.0, -40.0)}, restarts=3)
    found = attack(linear(WEIGHT), CENTRE, LABEL, delta=DELTA)
    assert found.success.all()
    assert quantities(found.x)[3][0] <= kappa[wrong].min() + 0.02


def test_scaled_heads_have_gradients_of_kappa(digits):
    net, x, y = digits
    attack = af.load_attack("art_flat:APGD(steps=10, objective='sharp')")
    scaled = ScaledHead(net, 100.0)
    sharp, loss = (
        attack(scaled, x, y, delta=0.2),
        af.load_attack("art_flat:APGD(steps=10)")(scaled, x, y, delta=0.2),
    )
    both = np.asarray(sharp.success) & np.asarray(loss.success)
    assert both.mean() > 0.5
    rise = scaled.log_relative_sharpness(sharp.x[both]) - scaled.log_relative_sharpness(loss.x[both])
    assert np.median(rise) > 10


def test_passes_are_those_of_the_loss(digits):
    net, x, y = digits
    spent = [
        af.load_attack("art_flat:APGD", steps=5, **params)(net, x, y, delta=0.1)
        for params in ({}, {"objective": "flat"}, {"within": {"log_kappa": (-5, 0)}})
    ]
    assert len({(result.forwards, result.backwards) for result in spent}) == 1


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        ({"objective": "flatt"}, InputError, "'flat'"),
        ({"within": {"kappa": (0, 1)}}, InputError, "log_kappa"),
        ({"within": {"log_kappa": (1, 0)}}, InputError, "low < high"),
        ({"within": {"log_kappa": 3}}, InputError, "pair"),
        ({"objective": "detector"}, InputError, "belongs to objective='detector'"),
        ({"score": {"log_kappa": 1.0}}, InputError, "belongs to objective='detector'"),
        ({"definition": "papers"}, InputError, "paper"),
        ({"goal": "loss"}, ParameterError, "has no parameter"),
    ],
)
def test_bad_parameters(params, error, words):
    with pytest.raises(error, match=words):
        af.load_attack("art_flat:APGD", **params)
