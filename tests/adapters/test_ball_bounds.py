"""Bounds over balls from adapted models: preprocessing, heads and clip range are those of predict."""

import numpy as np
import pytest
import torch
from art.defences.preprocessor import JpegCompression
from art.estimators.classification import PyTorchClassifier, SklearnClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from torch import nn

import art_flat as af
from art_flat.errors import InputError, UnknownNameError, UnsupportedEstimatorError, UnsupportedLayerError

KINDS = ("interval", "crown_interval", "crown")
MEAN, STD = [0.375, 0.625], [0.25, 0.5]


def small_net(*after, seed=0, k=3):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, k)]
    return nn.Sequential(*layers, *after)


def adapted(model, *, k=3, **options):
    options = {"clip_values": (0, 1), "preprocessing": (MEAN, STD), **options}
    loss = options.pop("loss", nn.CrossEntropyLoss())
    return af.adapt(PyTorchClassifier(model, loss, (2, 6, 6), nb_classes=k, **options))


def samples(n=4):
    generator = np.random.default_rng(0)
    x = generator.random((n, 2, 6, 6), dtype=np.float32)
    return x, generator.integers(0, 3, n)


def loss64(model, x, y):
    """−log p_y in float64 through mean and std, in plain torch."""
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 2, 1, 1) for v in (MEAN, STD))
    z = model.double()((x - mean) / std)
    return nn.functional.cross_entropy(z, y, reduction="none"), z


def attacked(model, x, y, delta, steps=25):
    """Losses and logits at points of a ball, clipped, found by sign gradients in float64."""
    x, y = torch.from_numpy(x).double(), torch.from_numpy(y)
    clean, point, worst, kept = loss64(model, x, y)[0], x.clone(), torch.zeros(len(x)).double(), True
    for _ in range(steps):
        point = point.detach().requires_grad_()
        loss, z = loss64(model, point, y)
        worst, kept = torch.maximum(worst, (loss - clean).detach()), kept & (z.argmax(1) == y)
        (gradient,) = torch.autograd.grad(loss.sum(), point)
        point = point + gradient.sign() * delta / 8
        point = torch.maximum(torch.minimum(point, x + delta), x - delta).clamp(0, 1)
    return worst.numpy(), kept.numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_are_above_what_attacks_reach_and_labels_that_attacks_change_are_not_kept(kind):
    x, y = samples()
    model = small_net()
    net = adapted(model)
    found = net.bounds_in_ball(x, y, delta=0.03, kind=kind)
    worst, kept = attacked(small_net(), x, y, 0.03)
    assert found.loss_increase.dtype == np.float64
    assert found.loss_increase.shape == (4,)
    assert (found.loss_increase >= worst).all()
    assert not (found.label_kept & ~kept).any()
    np.testing.assert_array_equal(found.loss_increase, net.loss_increase_in_ball(x, y, delta=0.03, kind=kind))


def test_a_linear_net_gives_the_exact_optimum_through_mean_and_std():
    model = nn.Sequential(nn.Flatten(), nn.Linear(72, 2))
    x, _ = samples()
    y, delta = np.array([0, 1, 0, 1]), 0.05
    bound = adapted(model, k=2).loss_increase_in_ball(x, y, delta=delta)
    std = np.repeat(np.array(STD), 36).reshape(2, 6, 6)
    weight = model[1].weight.detach().double().numpy().reshape(2, 2, 6, 6) / std
    toward = np.where((y == 0)[:, None, None, None], weight[1] - weight[0], weight[0] - weight[1])
    wide = x.astype(np.float64)
    point = np.clip(wide + delta * np.sign(toward), 0, 1)
    clean, worst = (loss64(model, torch.from_numpy(v), torch.from_numpy(y))[0] for v in (wide, point))
    np.testing.assert_allclose(bound, (worst - clean).detach(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("after", [nn.Softmax(1), nn.LogSoftmax(1)])
def test_what_stands_after_the_head_is_not_part_of_the_logits(after):
    x, y = samples()
    plain, wrapped = adapted(small_net()), adapted(small_net(after))
    bounds = [n.loss_increase_in_ball(x, y, delta=0.02) for n in (plain, wrapped)]
    np.testing.assert_array_equal(*bounds)


def test_a_scale_after_the_head_is_in_the_bounds_and_a_head_with_one_output_has_two_classes():
    class Scaled(nn.Module):
        def __init__(self, net, factor, squeeze=False):
            super().__init__()
            self.net, self.factor, self.squeeze = net, factor, squeeze

        def forward(self, x):
            z = self.net(x) * self.factor
            return z.squeeze(1) if self.squeeze else z

    x, y = samples()
    twice = small_net()
    with torch.no_grad():
        twice[-1].weight *= 2
        twice[-1].bias *= 2
    bounds = [adapted(m).loss_increase_in_ball(x, y, delta=0.02) for m in (twice, Scaled(small_net(), 2.0))]
    np.testing.assert_allclose(*bounds, rtol=0, atol=1e-9)

    single, pair = small_net(k=1), small_net(k=2)
    pair.load_state_dict({**pair.state_dict(), **dict(list(single.state_dict().items())[:2])})
    with torch.no_grad():
        pair[-1].weight.copy_(torch.cat([-single[-1].weight, single[-1].weight]) / 2)
        pair[-1].bias.copy_(torch.cat([-single[-1].bias, single[-1].bias]) / 2)
    nets = [
        adapted(Scaled(single, 1.0, squeeze=True), k=2, loss=nn.BCEWithLogitsLoss()),
        adapted(nn.Sequential(single, nn.Sigmoid()), k=2, loss=nn.BCELoss()),
        adapted(pair, k=2),
    ]
    one, sigmoid, two = (n.loss_increase_in_ball(x, y % 2, delta=0.02) for n in nets)
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-9)
    np.testing.assert_allclose(sigmoid, two, rtol=0, atol=1e-9)


def test_bounds_follow_the_weights_and_the_model_is_left_in_training_mode():
    x, y = samples()
    model = small_net(nn.Dropout(0.5))[:5].train()
    net = adapted(model)
    before = net.loss_increase_in_ball(x, y, delta=0.02)
    assert model.training
    assert net._traced is not None
    graph = net._traced[1]
    net.loss_increase_in_ball(x, y, delta=0.02)
    assert net._traced[1] is graph
    with torch.no_grad():
        model[-1].weight *= 2
    assert (net.loss_increase_in_ball(x, y, delta=0.02) > before).all()
    handle = model[1].register_forward_hook(lambda module, args, out: out + 0.5)
    with pytest.raises((UnsupportedEstimatorError, UnsupportedLayerError), match="hook"):
        net.loss_increase_in_ball(x, y, delta=0.02)
    handle.remove()


def test_tensors_come_back_as_tensors():
    x, y = samples()
    net = adapted(small_net())
    bound = net.loss_increase_in_ball(torch.from_numpy(x), torch.from_numpy(y), delta=0.02)
    assert isinstance(bound, torch.Tensor)
    assert bound.dtype == torch.float64
    np.testing.assert_array_equal(bound, net.loss_increase_in_ball(x, y, delta=0.02))


def test_models_of_scikit_learn_are_bounded_too():
    generator = np.random.default_rng(0)
    x = generator.integers(0, 1025, (60, 3)) / 1024  # exact in float32, to which ART rounds
    y = (x[:, 0] > x[:, 1]).astype(int) + (x[:, 2] > 0.7)
    fits = [LogisticRegression(), MLPClassifier((5,), solver="lbfgs", max_iter=300, tol=1e-3, random_state=0)]
    for fit in fits:
        fit.fit(x, y)
        net = af.adapt(SklearnClassifier(fit, clip_values=(0, 1)))
        bound = net.loss_increase_in_ball(x[:9], y[:9], delta=1 / 16)
        near = [np.clip(x[:9] + 1 / 16 * generator.choice([-1, 1], (9, 3)), 0, 1) for _ in range(20)]
        worst = np.max([net.loss(p, y[:9]) for p in near], axis=0) - net.loss(x[:9], y[:9])
        assert (bound >= worst).all()
        assert np.isfinite(bound).all()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"delta": 0.0}, InputError, "delta"),
        ({"norm": "L0"}, InputError, "L0"),
        ({"kind": "exact"}, UnknownNameError, "exact"),
        ({"kind": "branch"}, InputError, "seconds"),
        ({"seconds": 1.0}, InputError, "seconds"),
    ],
)
def test_bad_options_are_refused(options, error, words):
    x, y = samples(1)
    with pytest.raises(error, match=words):
        adapted(small_net()).loss_increase_in_ball(x, y, **{"delta": 0.1, **options})


def test_layers_and_defences_without_bounds_are_named():
    x, y = samples(1)
    gelu = nn.Sequential(nn.Flatten(), nn.Linear(72, 4), nn.GELU(), nn.Linear(4, 3))
    with pytest.raises(UnsupportedLayerError, match=r"'2' \(GELU\)"):
        adapted(gelu).loss_increase_in_ball(x, y, delta=0.1)
    jpeg = JpegCompression(clip_values=(0, 1), channels_first=True)
    net = adapted(small_net(), preprocessing_defences=jpeg)
    with pytest.raises(UnsupportedEstimatorError, match="JpegCompression"):
        net.loss_increase_in_ball(x, y, delta=0.1)
