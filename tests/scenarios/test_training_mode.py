"""A model in training mode, with buffers that each forward pass changes, is unchanged to the bit after every call."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

import art_flat as af
from art_flat import certification, metrics
from art_flat.detection import SharpnessTransformer
from art_flat.evaluation import FlatnessEvaluation
from art_flat.models import as_classifier, save_weights

X = np.random.default_rng(0).random((6, 1, 4, 4)).astype(np.float32)
Y = np.arange(6) % 3
ATTACK = "art_flat:PGD(steps=2)"


def network():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(),
        spectral_norm(nn.Linear(48, 8)), nn.Tanh(), nn.Dropout(0.5), spectral_norm(nn.Linear(8, 3)),
    )  # fmt: skip
    model[2].eval()
    model[0].weight.requires_grad_(False)
    return model


def classifier(model):
    return as_classifier(model, input_shape=(1, 4, 4), nb_classes=3)


def adapted(function):
    return lambda model, folder: function(af.adapt(classifier(model)))


def of_classifier(function, *args, **options):
    return lambda model, folder: function(classifier(model), *args, **options)


CALLS = {
    "adapt": adapted(repr),
    "measure": adapted(lambda net: net.measure(X, Y)),
    "gradient": adapted(lambda net: net.as_module()(torch.tensor(X).requires_grad_()).sum().backward()),
    "identity": adapted(lambda net: net.identity()),
    "lipschitz": adapted(lambda net: net.lipschitz()),
    "bounds": adapted(lambda net: net.bounds_in_ball(X, Y, delta=0.01)),
    "recipe": lambda model, folder: af.adapt(classifier(model)).recipe(folder),
    "attack": adapted(lambda net: af.load_attack(ATTACK)(net, X, Y, delta=0.1)),
    "torchattacks:PGD": adapted(
        lambda net: af.load_attack("torchattacks:PGD(steps=2)")(net, X, Y, delta=0.1)
    ),
    "ART": adapted(lambda net: af.load_attack("art:FastGradientMethod")(net, X, Y, delta=0.1)),
    "evaluate": of_classifier(af.evaluate, X, Y, attacks=ATTACK, deltas={"Linf": [0.05]}),
    "metric": of_classifier(metrics.loss_increase, X, Y, attack=ATTACK, delta=0.1),
    "certificate": of_classifier(metrics.certified_accuracy, X, Y, delta=0.01),
    "sharpness": of_classifier(metrics.relative_sharpness, X),
    "trajectories": of_classifier(af.trace_attack, ATTACK, X, Y, delta=0.1),
    "scaling": of_classifier(af.scale_sweep, ATTACK, X, Y, delta=0.1, scales=[1, 10]),
    "profile": of_classifier(af.radial_profile, X, Y, radii=[0.1, 0.2]),
    "detection": lambda model, folder: SharpnessTransformer(classifier(model)).fit(X).transform(X),
    "evaluation of ART": lambda model, folder: FlatnessEvaluation([0.05], check_gradients=False).evaluate(
        classifier(model), X, Y
    ),
    "training graph": lambda model, folder: certification.TrainableGraph(model, (1, 4, 4)).now(),
    "weights": lambda model, folder: save_weights(model, folder / "weights.safetensors"),
}


def state(model):
    arrays = {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}
    modes = {name: module.training for name, module in model.named_modules()}
    learns = {name: (p.requires_grad, p.grad is None) for name, p in model.named_parameters()}
    return arrays, modes, learns


@pytest.mark.parametrize("name", CALLS)
def test_model_is_unchanged(name, tmp_path):
    model = network()
    before = state(model)
    CALLS[name](model, tmp_path)
    assert state(model) == before


def test_adapter_reads_the_weight_of_evaluation_mode():
    model = network()
    net = af.adapt(classifier(model))
    weight, kappa = net.head.weight, net.relative_sharpness(X)
    model.eval()
    assert torch.equal(weight, model[-1].weight)
    np.testing.assert_array_equal(kappa, net.relative_sharpness(X))
