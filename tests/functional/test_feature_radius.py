import math

import pytest
import torch
from bounds_cases import every_kind, head, rounding, worst_case
from sampling import mostly_slow

from art_flat.functional import feature_radius, loss_increase_bound


@every_kind
@pytest.mark.parametrize(
    "epsilon", mostly_slow([1e-12, 1e-3, math.log(2), 50.0, 1e6], quick=[1e-12, math.log(2)])
)
@pytest.mark.parametrize("scale", mostly_slow([0.0, 1.0, 100.0, 3000.0], quick=[1.0]))
def test_the_radius_is_the_largest_at_which_the_bound_holds(kind, epsilon, scale):
    case = head(60, 5, 4, scale=scale)
    radius = feature_radius(*case, epsilon=epsilon, kind=kind)
    if kind == "paper":
        assert (radius[::7] == 0).all()
        case, radius = tuple(x[radius > 0] if len(x) == 60 else x for x in case), radius[radius > 0]
    assert (radius > 0).all()
    assert torch.isfinite(radius).all()
    assert (loss_increase_bound(*case, radius=radius, kind=kind) <= epsilon).all()
    one_by_one = [
        loss_increase_bound(
            case[0][i : i + 1], case[1][i : i + 1], case[2], case[3][i : i + 1], radius=radius[i], kind=kind
        )
        for i in range(0, len(radius), 4)
    ]
    assert (torch.cat(one_by_one) <= epsilon).all()
    assert (loss_increase_bound(*case, radius=radius * (1 + 1e-6), kind=kind) > epsilon).all()


def test_the_radius_is_not_above_the_true_one_and_near_it():
    case = head(200, 6, 8, scale=2.0)
    radius = feature_radius(*case, epsilon=math.log(2))
    found = worst_case(case[0], case[2], case[3], radius, steps=40)
    assert (found <= math.log(2)).all()
    assert (worst_case(case[0], case[2], case[3], radius / 0.9, steps=40) > math.log(2)).double().mean() > 0.5


@every_kind
@pytest.mark.slow
def test_epsilon_zero_and_one_for_each(kind):
    case = head(8, 3, 4)
    assert (feature_radius(*case, epsilon=0.0, kind=kind) == 0).all()
    epsilon = torch.linspace(0.0, 2.0, 8, dtype=torch.float64)
    each = feature_radius(*case, epsilon=epsilon, kind=kind)
    single = [
        feature_radius(
            case[0][i : i + 1], case[1][i : i + 1], case[2], case[3][i : i + 1], epsilon=e, kind=kind
        )
        for i, e in enumerate(epsilon.tolist())
    ]
    torch.testing.assert_close(each, torch.cat(single), rtol=rounding(kind), atol=0.0)


@pytest.mark.parametrize("kind", ["best", "chord", "lse", "quadratic", "flatness_neuronwise"])
def test_infinite_where_no_move_raises_the_loss(kind):
    logits, features, _, labels = head(9, 3, 4)
    weight = torch.ones(3, 4, dtype=torch.float64)
    for epsilon in (0.0, 0.3):
        assert (
            feature_radius(logits, features, weight, labels, epsilon=epsilon, kind=kind) == torch.inf
        ).all()
    unlimited = torch.full((9,), torch.inf)
    assert (loss_increase_bound(logits, features, weight, labels, radius=unlimited, kind=kind) == 0).all()


def test_prediction_cannot_become_wrong_within_the_radius_of_log_2_minus_the_loss():
    logits, features, weight, _ = head(300, 4, 5, scale=3.0)
    labels = logits.argmax(dim=1)
    room = math.log(2) - torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    sure = room > 0
    logits, features, labels = logits[sure], features[sure], labels[sure]
    radius = feature_radius(logits, features, weight, labels, epsilon=room[sure])
    w = weight[None] - weight[labels][:, None]
    to_boundary = (logits.gather(1, labels[:, None]) - logits) / w.norm(dim=2)
    nearest = to_boundary.scatter(1, labels[:, None], torch.inf).amin(dim=1)
    assert sure.sum() > 50
    assert (radius <= nearest).all()
