"""The adversary of training against ART's PGD; augmentation against loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.attacks.evasion import ProjectedGradientDescentPyTorch
from tolerances import close
from torch import nn

from art_flat._utils.random import seeded_rng
from art_flat.datasets import load_dataset
from art_flat.errors import InputError
from art_flat.models import as_classifier, digits_cnn, fcn, resnet18
from art_flat.training import Adversary, train
from art_flat.training._augment import augment

DATA = load_dataset("digits", n=60)
X, Y = torch.from_numpy(DATA.x), torch.from_numpy(DATA.y)


@pytest.mark.parametrize(("norm", "delta"), [("Linf", 0.1), ("L2", 0.3)])
def test_is_arts_pgd_where_nothing_is_random(norm: str, delta: float) -> None:
    model = digits_cnn().eval()
    classifier = as_classifier(model, input_shape=(1, 8, 8), nb_classes=10)
    attack = ProjectedGradientDescentPyTorch(
        classifier, norm=np.inf if norm == "Linf" else 2, eps=delta, eps_step=delta / 4, max_iter=7, verbose=False
    )  # fmt: skip
    theirs = torch.from_numpy(attack.generate(X.numpy(), y=DATA.y))
    ours = Adversary(norm=norm, delta=delta, steps=7, random_start=False)(model, X, Y)
    assert torch.allclose(ours, theirs, **close("net"))


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize(("norm", "order", "delta"), [("Linf", torch.inf, 0.1), ("L2", 2, 0.8)])
def test_stays_inside_and_raises_the_loss(norm: str, order: float, delta: float, steps: int) -> None:
    model = digits_cnn()
    model.features[1].train()
    before = torch.get_rng_state()
    with seeded_rng(0):
        point = Adversary(norm=norm, delta=delta, steps=steps)(model, X, Y)
    assert torch.equal(torch.get_rng_state(), before)
    assert (point - X).flatten(1).norm(order, dim=1).max() <= delta * (1 + 1e-5)
    assert point.min() >= 0
    assert point.max() <= 1
    assert not point.requires_grad
    assert all(p.grad is None for p in model.parameters())
    loss = nn.CrossEntropyLoss(reduction="none")
    with torch.no_grad():
        assert (loss(model(point), Y) > loss(model(X), Y)).float().mean() > 0.9


def test_leaves_batch_norm_and_modes_alone() -> None:
    model = resnet18(0.05).train()
    model.bn1.eval()
    statistics = model.bn1.running_mean.clone(), model.layer1[0].bn1.running_mean.clone()
    Adversary(steps=1)(model, torch.rand(4, 3, 8, 8), torch.arange(4))
    assert model.training
    assert not model.bn1.training
    assert torch.equal(model.bn1.running_mean, statistics[0])
    assert torch.equal(model.layer1[0].bn1.running_mean, statistics[1])


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["pgd", "art"])
def test_adversarial_training_makes_robust(trainer: str) -> None:
    """Against an attack of another library, with the same number of epochs."""
    train_data = load_dataset("digits", split="train")
    adversary = Adversary(delta=0.1, steps=2, step=0.07, trainer=trainer)
    accuracy = []
    for moved in (None, adversary):
        model = train(digits_cnn(), train_data.x, train_data.y, epochs=8, batch_size=64, adversary=moved)
        classifier = as_classifier(model, input_shape=(1, 8, 8), nb_classes=10)
        attack = ProjectedGradientDescentPyTorch(
            classifier, eps=0.1, eps_step=0.02, max_iter=10, verbose=False
        )
        x = attack.generate(DATA.x, y=DATA.y)
        accuracy.append(float((classifier.predict(x).argmax(1) == DATA.y).mean()))
    assert accuracy[1] > accuracy[0] + 0.1


def test_art_trains_on_what_its_attack_found() -> None:
    """One step by ART's trainer is one step of SGD on the points of ART's attack."""
    model, reference = digits_cnn(), digits_cnn()
    adversary = Adversary(delta=0.1, steps=3, random_start=False, trainer="art")
    x = Adversary(delta=0.1, steps=3, random_start=False)(reference, X, Y)
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.05)
    nn.functional.cross_entropy(reference(x), Y).backward()
    optimizer.step()
    train(model, X, Y, epochs=1, lr=0.05, momentum=0, weight_decay=0, warmup=0, adversary=adversary)
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(ours, theirs, **close("net"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"norm": "L1"}, "moves in Linf or L2, got 'L1'"),
        ({"delta": 0}, "`delta` must be greater than 0"),
        ({"steps": 0}, "`steps` must be a whole number of at least 1, got 0"),
        ({"clip_values": (1, 0)}, r"low < high, got \(1, 0\)"),
        ({"trainer": "fgsm"}, "`trainer` must be"),
    ],
)
def test_settings_that_cannot_be_used(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Adversary(**change)


def test_augmentation_is_a_shifted_window_mirrored_or_not() -> None:
    x = torch.rand(200, 2, 5, 6)
    with seeded_rng(0):
        out = augment(x, crop=2, flip=True)
    found = set()
    for before, after in zip(x, out, strict=True):
        padded = torch.zeros(2, 9, 10)
        padded[:, 2:7, 2:8] = before
        hits = [
            (top, left, mirrored)
            for top in range(5)
            for left in range(5)
            for mirrored in (False, True)
            if torch.equal(after.flip(2) if mirrored else after, padded[:, top : top + 5, left : left + 6])
        ]
        assert len(hits) == 1
        found.add(hits[0])
    assert len(found) > 45  # of 50
    assert torch.equal(augment(x, crop=0, flip=False), x)


def test_only_linear_data_need_no_image() -> None:
    x, y = torch.rand(20, 4), torch.arange(20) % 3
    model = train(fcn(4, (8,), 3), x, y, epochs=1, adversary=Adversary(delta=0.05, steps=1))
    assert not model.training
