"""Every public function that takes a seed accepts the same whole numbers and refuses everything else."""

import importlib
import inspect

import numpy as np
import pytest
import torch

import art_flat as af
from art_flat import detection, metrics, models, scorers, training
from art_flat.cli.config import parse_config
from art_flat.errors import ConfigError, InputError

X = np.random.default_rng(0).random((6, 4), dtype=np.float32)
Y = np.arange(6) % 3
ATTACK = "art_flat:PGD(steps=1)"
BALL = {"attack": ATTACK, "delta": 0.1}


@pytest.fixture
def net(linear):
    return linear(np.random.default_rng(1).normal(size=(3, 4)))


def rates(net, seed):
    detector = detection.SharpnessDetector(net)
    detector.fit(np.concatenate([X, 1 - X]), np.repeat([0, 1], 6))
    return detector.true_positive_rates(X, Y, ATTACK, delta=0.5, seed=seed, adaptive=False)


def of_model(name, **options):
    return lambda net, seed: getattr(models, name)(seed=seed, **options)


CALLS = {
    "evaluate": lambda net, seed: af.evaluate(net, X, Y, attacks=ATTACK, deltas={"Linf": [0.1]}, seed=seed),
    "plan": lambda net, seed: af.evaluation.plan(
        net, X, Y, attacks=ATTACK, deltas={"Linf": [0.1]}, probe_seconds=0.1, seed=seed
    ),
    "Attack": lambda net, seed: af.load_attack(ATTACK)(net, X, Y, delta=0.1, seed=seed),
    "trace_attack": lambda net, seed: af.trace_attack(net, ATTACK, X, Y, delta=0.1, seed=seed),
    "scale_sweep": lambda net, seed: af.scale_sweep(net, ATTACK, X, Y, delta=0.1, scales=[1], seed=seed),
    "radial_profile": lambda net, seed: af.radial_profile(net, X, Y, radii=[0.1, 0.2], seed=seed),
    "loss_increase": lambda net, seed: metrics.loss_increase(net, X, Y, **BALL, seed=seed),
    "loss_increase_over_radii": lambda net, seed: metrics.loss_increase_over_radii(
        net, X, Y, deltas=[0.1], seed=seed
    ),
    "loss_change_robustness": lambda net, seed: metrics.loss_change_robustness(
        net, X, Y, x_adv=X, epsilon=0.1, seed=seed
    ),
    "loss_change_robustness_bracket": lambda net, seed: metrics.loss_change_robustness_bracket(
        net, X, Y, **BALL, epsilon=0.1, seed=seed
    ),
    "prediction_change_robustness": lambda net, seed: metrics.prediction_change_robustness(
        net, X, Y, **BALL, seed=seed
    ),
    "minimum_loss_increase": lambda net, seed: metrics.minimum_loss_increase(
        net, X, Y, x_adv=1 - X, seed=seed, reduction="none"
    ),
    "adversarial_flatness": lambda net, seed: metrics.adversarial_flatness(
        net, X, Y, **BALL, seed=seed, reduction="none"
    ),
    "relative_sharpness": lambda net, seed: metrics.relative_sharpness(
        net, X, Y, **BALL, seed=seed
    ),
    "loss_change_robustness_scorer": lambda net, seed: scorers.loss_change_robustness_scorer(
        delta=0.1, epsilon=0.1, seed=seed
    )(net, X, Y),
    "true_positive_rates": rates,
    "detection_table": lambda net, seed: detection.detection_table(net, X, Y, ATTACK, 0.5, folds=2, seed=seed),
    "load_dataset": lambda net, seed: af.load_dataset("digits", split="test", n=2, seed=seed),
    "train": lambda net, seed: training.train(torch.nn.Linear(4, 3), X, Y, epochs=1, seed=seed),
    "TrainingSettings": lambda net, seed: training.TrainingSettings(seed=seed),
    "trained_digits_cnn": lambda net, seed: training.trained_digits_cnn(epochs=1, seed=seed),
    "build": lambda net, seed: models.build(
        "art_flat.models:digits_cnn", input_shape=(1, 8, 8), nb_classes=10, seed=seed
    ),
    "digits_cnn": of_model("digits_cnn"),
    "resnet18": of_model("resnet18", width=0.125),
    "cifar_resnet20": of_model("cifar_resnet20"),
    "mnist_lenet5": of_model("mnist_lenet5"),
}  # fmt: skip
WRONG = (None, 1.5, -1, 2**63, True, "0", np.float64(1), [1])


@pytest.mark.parametrize("name", CALLS)
def test_what_is_a_seed(net, name):
    for seed in WRONG:
        with pytest.raises(InputError, match=r"`seed` must be a whole number from 0 to 2\*\*63 - 1, got"):
            CALLS[name](net, seed)
    for seed in (np.uint8(3), 2**63 - 1):
        CALLS[name](net, seed)


def test_every_function_with_a_seed_is_here():
    modules = [importlib.import_module(f"art_flat.{m}") for m in af._MODULES]
    functions = {
        f for m in modules for n in getattr(m, "__all__", ()) if inspect.isfunction(f := getattr(m, n))
    }
    seeded = {f for f in functions if "seed" in inspect.signature(f).parameters}
    listed = {f for f in seeded if f.__name__ in CALLS}
    assert all(f.__module__.startswith("art_flat.models._") for f in seeded - listed)


@pytest.mark.parametrize("seed", ["-1", "1.5", "true", "nan"])
def test_configuration(seed):
    raw = {"models": {"a": {"factory": "a:b"}}, "data": {"name": "digits"}, "deltas": 0.1}
    assert parse_config({**raw, "seed": 3}, "here").seed == 3
    with pytest.raises(ConfigError, match=r"seed.*whole number from 0 to 2\*\*63 - 1"):
        parse_config({**raw, "seed": {"-1": -1, "1.5": 1.5, "true": True, "nan": float("nan")}[seed]}, "here")
