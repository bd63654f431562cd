import math

import pytest
import references
import torch

from art_flat.errors import InputError
from art_flat.functional import cross_entropy, loss_change, margin, minimum_loss_increase_lower_bound

PER_SAMPLE = {
    "cross_entropy": cross_entropy,
    "loss_change": lambda z, y: loss_change(z.flip(0), z, y),
    "margin": margin,
    "minimum_loss_increase_lower_bound": minimum_loss_increase_lower_bound,
}
each = pytest.mark.parametrize("name", PER_SAMPLE)


def cases(n=8, k=5, scale=1.0, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(n, k, generator=generator, dtype=dtype)
    return logits, torch.randint(max(k, 2), (n,), generator=generator)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_cross_entropy(scale, dtype):
    z, y = cases(scale=scale, dtype=dtype)
    loss = cross_entropy(z, y)
    assert loss.dtype == torch.float64
    expected = [references.cross_entropy(row, label) for row, label in zip(z.double(), y, strict=True)]
    torch.testing.assert_close(loss, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_small_losses_would_vanish_in_float32():
    z, y = torch.tensor([[20.0, 0.0], [-300.0, 0.0]]), torch.tensor([0, 1])
    atol = 20 * torch.finfo(torch.float64).eps  # of the logits that are subtracted
    torch.testing.assert_close(cross_entropy(z, y)[0].item(), math.log1p(math.exp(-20)), rtol=0.0, atol=atol)
    assert torch.nn.functional.cross_entropy(z, y, reduction="none")[0] == 0.0
    assert str(cross_entropy(z, y)[1].item()) == "0.0"  # not −0.0


def test_loss_change_is_the_difference():
    z, y = cases()
    z_adv, _ = cases(seed=1)
    change = loss_change(z, z_adv, y)
    assert change.dtype == torch.float64
    for i, label in enumerate(y):
        expected = references.cross_entropy(z_adv[i], label) - references.cross_entropy(z[i], label)
        assert change[i].item() == pytest.approx(expected, abs=1e-13)
    assert torch.equal(loss_change(z, z, y), torch.zeros(8, dtype=torch.float64))


def test_flip_and_loss_rise_are_different():
    clean = torch.tensor([[0.6, 0.1, 0.1]])
    falls_yet_flips, rises_yet_keeps = torch.tensor([[0.6, 0.7, -5.0]]), torch.tensor([[0.6, 0.5, 0.5]])
    y = torch.tensor([0])
    assert loss_change(clean, falls_yet_flips, y) < 0
    assert margin(falls_yet_flips, y) < 0
    assert loss_change(clean, rises_yet_keeps, y) > 0
    assert margin(rises_yet_keeps, y) > 0


def test_margin():
    z, y = cases(dtype=torch.float32)
    expected = [
        float(row[label]) - max(float(v) for j, v in enumerate(row) if j != label)
        for row, label in zip(z, y, strict=True)
    ]
    torch.testing.assert_close(margin(z, y), torch.tensor(expected, dtype=torch.float64), rtol=0.0, atol=0.0)
    assert torch.equal(margin(z, y) > 0, z.argmax(1) == y)
    assert margin(torch.zeros(1, 3), torch.tensor([1])) == 0


def test_no_wrong_prediction_has_a_smaller_loss_increase():
    z, y = cases(n=400, scale=2.0)
    z_adv, _ = cases(n=400, scale=2.0, seed=1)
    bound = minimum_loss_increase_lower_bound(z, y)
    wrong = z_adv.argmax(1) != y
    assert wrong.sum() > 100
    assert (loss_change(z, z_adv, y)[wrong] >= bound[wrong]).all()
    boundary = torch.full_like(z, -50.0).scatter(1, y[:, None], 0.0).scatter(1, (y[:, None] + 1) % 5, 0.0)
    torch.testing.assert_close(loss_change(z, boundary, y), bound, rtol=0.0, atol=1e-12)


@each
def test_logistic_head_is_the_pair(name):
    z, y = cases(k=1)
    pair = torch.cat([-z / 2, z / 2], dim=1)
    torch.testing.assert_close(PER_SAMPLE[name](z, y), PER_SAMPLE[name](pair, y), rtol=1e-15, atol=0.0)
    direct = torch.nn.functional.softplus(-(2 * y - 1) * z[:, 0])
    torch.testing.assert_close(cross_entropy(z, y), direct, rtol=1e-12, atol=0.0)
    torch.testing.assert_close(margin(z, y), (2 * y - 1) * z[:, 0], rtol=1e-15, atol=0.0)


def test_classes_that_cannot_occur():
    z, y = torch.tensor([[1.0, -math.inf, 0.0]]).repeat(3, 1), torch.tensor([0, 1, 2])
    two = cross_entropy(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    assert cross_entropy(z, y).tolist() == [two[0], math.inf, two[1]]
    assert margin(z, y).tolist() == [1.0, -math.inf, -1.0]
    assert cross_entropy(torch.tensor([[-math.inf, 3.0]]), torch.tensor([1])) == 0.0
    assert torch.isnan(loss_change(z, z, y)).tolist() == [False, True, False]


@each
@pytest.mark.parametrize("bad", [[math.nan, 0.0], [0.0, math.nan], [-math.inf, -math.inf]])
def test_bad_logits_give_nan_for_their_sample_only(name, bad):
    z = torch.tensor([[0.0, 1.0], bad, [0.5, 0.0]])
    for label in (0, 1):
        out = PER_SAMPLE[name](z, torch.tensor([0, label, 1]))
        assert torch.isnan(out).tolist() == [False, True, False]


@each
def test_gradients(name):
    z, y = cases(n=4, k=3)
    assert torch.autograd.gradcheck(lambda z: PER_SAMPLE[name](z, y), (z.requires_grad_(),))
    with_absent = torch.tensor([[1.0, -math.inf, 0.5]], requires_grad=True)
    (gradient,) = torch.autograd.grad(cross_entropy(with_absent, torch.tensor([0])).sum(), with_absent)
    assert torch.isfinite(gradient).all()


@each
def test_samples_are_independent_and_no_value_is_waited_for(name):
    z, y = cases(n=10)
    function = cross_entropy if name == "loss_change" else PER_SAMPLE[name]
    alone = torch.cat([function(z[i : i + 1], y[i : i + 1]) for i in range(10)])
    torch.testing.assert_close(function(z, y), alone, rtol=1e-14, atol=1e-14)
    assert function(z[:0], y[:0]).shape == (0,)
    assert PER_SAMPLE[name](z.to("meta"), y.to("meta")).shape == (10,)


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (torch.zeros(3), torch.zeros(3), r"`logits` must have shape \(n, k\), got \(3,\)"),
        (
            torch.zeros(3, 2),
            torch.zeros(3),
            r"int64 tensor of 3 class indices, got torch.float32 \(3,\); pass labels",
        ),
        (
            torch.zeros(3, 2),
            torch.zeros(3, 2).long(),
            r"got torch.int64 \(3, 2\); pass .* labels.argmax\(dim=1\)",
        ),
        (torch.zeros(3, 2), torch.zeros(2).long(), r"3 class indices, got torch.int64 \(2,\)"),
        (torch.zeros(3, 2), [0, 1, 0], "got list"),
        (torch.zeros(3, 2), torch.zeros(3, device="meta").long(), "`labels` is on meta, `logits` on cpu"),
    ],
)
@each
def test_errors(name, logits, labels, words):
    with pytest.raises(InputError, match=words):
        PER_SAMPLE[name](logits, labels)


def test_loss_change_needs_the_same_samples():
    with pytest.raises(InputError, match=r"\(3, 2\) and `logits_adv` \(2, 2\); pass the same samples"):
        loss_change(torch.zeros(3, 2), torch.zeros(2, 2), torch.zeros(3).long())
