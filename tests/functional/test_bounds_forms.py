import math

import pytest
import torch
from bounds_cases import every_kind, head, rounding

from art_flat import errors
from art_flat.functional import feature_radius, loss_increase_bound


@every_kind
@pytest.mark.parametrize("call", ["bound", "radius"])
def test_order_label_form_and_dtype(kind, call):
    logits, features, weight, labels = head(20, 4, 3, dtype=torch.float32)

    def value(z, phi, y):
        if call == "bound":
            return loss_increase_bound(z, phi, weight, y, radius=0.4, kind=kind)
        return feature_radius(z, phi, weight, y, epsilon=0.4, kind=kind)

    def same(actual):
        torch.testing.assert_close(actual, whole, rtol=rounding(kind), atol=0.0)

    whole = value(logits, features, labels)
    assert whole.dtype == torch.float64
    assert whole.shape == (20,)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    same(value(logits[order], features[order], labels[order])[order.argsort()])
    same(value(logits, features, torch.nn.functional.one_hot(labels, 4)))
    same(value(logits.double(), features.double(), labels))
    assert value(logits[:0], features[:0], labels[:0]).shape == (0,)


@every_kind
def test_many_samples_are_taken_in_chunks(kind):
    """So many classes and samples that temporary arrays hold only some of the samples at once."""
    logits, features, weight, labels = head(1100, 256, 3)
    whole = loss_increase_bound(logits, features, weight, labels, radius=0.4, kind=kind)
    for rows in (slice(0, 50), slice(1050, 1100)):
        part = loss_increase_bound(logits[rows], features[rows], weight, labels[rows], radius=0.4, kind=kind)
        torch.testing.assert_close(whole[rows], part, rtol=rounding(kind), atol=0.0)


def test_radii_of_many_samples_are_found_in_chunks():
    logits, features, weight, labels = head(1100, 256, 3)
    whole = feature_radius(logits, features, weight, labels, epsilon=0.4, kind="lse")
    part = feature_radius(logits[1050:], features[1050:], weight, labels[1050:], epsilon=0.4, kind="lse")
    torch.testing.assert_close(whole[1050:], part, rtol=rounding("lse"), atol=0.0)


@every_kind
def test_a_logistic_head_is_two_classes(kind):
    logits, features, weight, _ = head(10, 1, 3, scale=2.0)
    labels = torch.arange(10) % 2
    pair = torch.cat([-logits / 2, logits / 2], dim=1), features, torch.cat([-weight / 2, weight / 2]), labels
    one = loss_increase_bound(logits, features, weight, labels, radius=0.5, kind=kind)
    torch.testing.assert_close(one, loss_increase_bound(*pair, radius=0.5, kind=kind), rtol=1e-11, atol=0.0)
    if kind == "lse":
        sign = torch.where(labels == 1, -1.0, 1.0).double()
        moved = torch.nn.functional.softplus(sign * logits[:, 0] + 0.5 * weight.norm())
        increase = moved - torch.nn.functional.softplus(sign * logits[:, 0])
        torch.testing.assert_close(one, increase, rtol=1e-9, atol=0.0)


@every_kind
def test_invariances(kind):
    """Rotating feature space changes nothing; a common shift of the rows nothing but ‖W‖."""
    logits, features, weight, labels = head(20, 4, 6)
    turn = torch.linalg.qr(
        torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    )[0]
    plain = loss_increase_bound(logits, features, weight, labels, radius=0.6, kind=kind)
    turned = loss_increase_bound(logits, features @ turn, weight @ turn, labels, radius=0.6, kind=kind)
    torch.testing.assert_close(plain, turned, rtol=1e-10, atol=0.0)
    shifted = loss_increase_bound(logits, features, weight + 100.0, labels, radius=0.6, kind=kind)
    if kind in {"flatness", "paper"}:
        assert (shifted[1:7] > plain[1:7]).all()
    else:
        torch.testing.assert_close(plain, shifted, rtol=1e-8, atol=0.0)


# Bad input


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"radius": -0.1}, "`radius` must be at least 0 .feature units., got -0.1"),
        ({"radius": math.nan}, "`radius` must be finite"),
        (
            {"radius": torch.tensor([0.1, -2.0, 0.1])},
            "`radius` must be at least 0 .feature units., got -2 in sample 1",
        ),
        ({"radius": torch.tensor([0.1, 0.1, math.nan])}, "got nan in sample 2"),
        ({"radius": torch.ones(2)}, r"`radius` must be one number, or one for each of 3 samples, got \(2,\)"),
        ({"kind": "cord"}, "unknown kind of bound 'cord': did you mean 'chord'"),
        (
            {"labels": torch.tensor([0, 1, 4])},
            "`labels` has labels from 0 to 4, the classifier has classes 0 to 3",
        ),
        ({"weight": torch.ones(3, 2)}, "`logits` has 4 classes and `weight` 3 rows"),
        ({"eps": 0.1}, "the radius is `delta`, the tolerated loss change is `epsilon`"),
    ],
)
def test_bad_input_of_the_bound(change, words):
    logits, features, weight, labels = head(3, 4, 2)
    arguments = {
        "logits": logits,
        "features": features,
        "weight": weight.double(),
        "labels": labels,
        "radius": 0.1,
    }
    with pytest.raises((errors.InputError, errors.ParameterError), match=words):
        loss_increase_bound(**(arguments | change))


@pytest.mark.parametrize(
    ("epsilon", "words"),
    [
        (-1e-9, "`epsilon` must be at least 0 .nats., got -1e-09"),
        (math.nan, "`epsilon` must be finite"),
        (
            torch.tensor([0.1, -0.3, 0.2]),
            "`epsilon` must be at least 0 and finite .nats., got -0.3 in sample 1",
        ),
        (torch.tensor([0.1, math.inf, 0.2]), "got inf in sample 1"),
        ("a lot", "`epsilon` must be a number in nats, got 'a lot'"),
    ],
)
def test_bad_epsilon(epsilon, words):
    with pytest.raises(errors.InputError, match=words):
        feature_radius(*head(3, 4, 2), epsilon=epsilon)
