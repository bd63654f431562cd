"""Training: it learns, the same way every time, and leaves the caller's things alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tolerances import close
from torch import nn

from art_flat.datasets import load_dataset
from art_flat.errors import InputError
from art_flat.models import digits_cnn, fcn, mnist_cnn, resnet18
from art_flat.training import train

MNIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "mnist"
X, Y = (np.random.default_rng(0).random((50, 4), dtype=np.float32), np.arange(50) % 3)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """On a busy machine, the threads of such small networks spend their time waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def net() -> nn.Sequential:
    return fcn(4, (8,), 3)


def accuracy(model: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    with torch.no_grad():
        return float((model(torch.from_numpy(x)).argmax(dim=1).numpy() == y).mean())


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([v.double().flatten() for v in model.state_dict().values()])


@pytest.mark.slow
def test_digits() -> None:
    data, test = load_dataset("digits", split="train"), load_dataset("digits")
    model = train(digits_cnn(), data.x, data.y, epochs=12, batch_size=64)
    assert accuracy(model, test.x, test.y) > 0.97


@pytest.mark.skipif(not MNIST.is_dir(), reason="no real MNIST beside the repository")
@pytest.mark.slow
@pytest.mark.parametrize(("make", "epochs"), [(fcn, 2), (mnist_cnn, 1)])
def test_mnist(make: type, epochs: int) -> None:
    data, test = load_dataset("mnist", root=MNIST, split="train"), load_dataset("mnist", root=MNIST)
    assert accuracy(train(make(), data.x, data.y, epochs=epochs), test.x, test.y) > 0.97


def test_same_seed_same_weights_and_the_callers_randomness_untouched() -> None:
    def dropping() -> nn.Sequential:
        return nn.Sequential(net().features, nn.Dropout(0.5), net().head)

    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = weights(train(dropping(), X, Y, epochs=3, batch_size=16))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)
    torch.rand(3)
    assert torch.equal(weights(train(dropping(), X, Y, epochs=3, batch_size=16)), first)
    assert not torch.equal(weights(train(dropping(), X, Y, epochs=3, batch_size=16, seed=1)), first)


def test_data_in_any_form() -> None:
    first = weights(train(net(), X, Y, epochs=2))
    for x, y in (
        (torch.from_numpy(X), torch.from_numpy(Y)),
        (X.astype("float64"), np.eye(3)[Y]),
        (X.tolist(), [*Y]),
    ):
        assert torch.equal(weights(train(net(), x, y, epochs=2)), first)


def test_one_step_is_nesterov_sgd() -> None:
    """One batch, one epoch: w − lr (1 + 0.9) (∇ℓ + λ w), written out."""
    model, lr, decay = net().double(), 0.3, 0.01
    loss = nn.functional.cross_entropy(model(torch.from_numpy(X).double()), torch.from_numpy(Y))
    gradients = torch.autograd.grad(loss, [*model.parameters()])
    expected = [
        (p - lr * 1.9 * (g + decay * p)).detach() for p, g in zip(model.parameters(), gradients, strict=True)
    ]
    train(model, X, Y, epochs=1, batch_size=64, lr=lr, weight_decay=decay, warmup=0)
    assert all(torch.allclose(p, e, atol=1e-12) for p, e in zip(model.parameters(), expected, strict=True))


def test_against_torchs_own_schedule() -> None:
    """Without warm-up, the learning rate is that of torch's CosineAnnealingLR, and momentum is plain."""
    model, reference = net().double(), net().double()
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.2, momentum=0.8, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)
    x, y = torch.from_numpy(X).double(), torch.from_numpy(Y)
    for _ in range(6):  # one batch of all samples, so that their order has no meaning
        optimizer.zero_grad()
        nn.functional.cross_entropy(reference(x), y).backward()
        optimizer.step()
        schedule.step()
    rows: list[dict[str, float]] = []
    train(
        model, X, Y, epochs=6, batch_size=50, lr=0.2, momentum=0.8, nesterov=False, weight_decay=1e-3, warmup=0,
        on_epoch=lambda history: rows.append(history[-1]), test=(X, Y),
    )  # fmt: skip
    assert torch.allclose(weights(model), weights(reference), atol=1e-12)
    assert [r["epoch"] for r in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[0]["lr"] == 0.2
    assert rows[-1]["test_accuracy"] == accuracy(model.float(), X, Y)


def test_channels_last_is_the_same_training_and_is_put_back() -> None:
    x, y = np.random.default_rng(0).random((32, 3, 16, 16), dtype=np.float32), np.arange(32) % 10
    first, second = (
        train(resnet18(0.125), x, y, epochs=2, batch_size=16, lr=0.01, channels_last=c) for c in (False, True)
    )
    assert torch.allclose(weights(first), weights(second), **close("steps", scale=0.1))
    assert all(p.is_contiguous() for p in second.parameters())


def test_channels_last_is_refused_where_torch_crashes() -> None:
    with pytest.raises(InputError, match=r"'layer2.0.downsample.0' is a 1×1 convolution .* of 3 channels"):
        train(resnet18(0.05), np.zeros((4, 3, 8, 8)), [0, 1, 2, 3], epochs=1, channels_last=True)


def test_leaves_eval_mode_no_gradients_and_frozen_parts() -> None:
    model = net()
    model.features.requires_grad_(False)
    frozen, head = model.features[1].weight.clone(), model.head.weight.clone()
    with torch.no_grad():
        assert train(model, X, Y, epochs=1) is model
    assert not any(part.training for part in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(model.features[1].weight, frozen)
    assert not model.features[1].weight.requires_grad
    assert not torch.equal(model.head.weight, head)


def test_progress_counts_the_steps() -> None:
    seen: list[tuple[int, int, float]] = []
    train(net(), X, Y, epochs=30, batch_size=16, lr=0.5, progress=lambda *step: seen.append(step))
    assert [s[0] for s in seen] == [*range(1, 121)]
    assert {s[1] for s in seen} == {120}
    assert seen[0][2] == pytest.approx(np.log(3), abs=0.3)
    assert np.mean([s[2] for s in seen[-4:]]) < np.mean([s[2] for s in seen[:4]])


def test_progress_that_raises_leaves_a_model_at_rest() -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    model, before = net(), torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        train(model, X, Y, epochs=1, progress=stop)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_no_batch_of_one_sample() -> None:
    x = np.random.default_rng(0).random((17, 3, 32, 32), dtype=np.float32)  # 16 + 1 would stop batch norm
    assert torch.isfinite(
        weights(train(resnet18(width=0.05), x, np.arange(17) % 10, epochs=1, batch_size=16))
    ).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 0}, r"`epochs` must be a whole number of at least 1, got 0"),
        ({"batch_size": 2.5}, r"`batch_size` must be a whole number"),
        ({"lr": 0}, r"`lr` must be greater than 0"),
        ({"weight_decay": -1}, r"`weight_decay` must be at least 0"),
        ({"y": Y + 1}, r"labels from 1 to 3, the classifier has classes 0 to 2"),
        ({"y": Y[:9]}, r"9 labels for 50 samples"),
        ({"x": X * np.nan}, r"NaN or infinite values"),
        ({"momentum": 1.0}, r"`momentum` must be below 1"),
        ({"warmup": -0.1}, r"`warmup` must be at least 0"),
        ({"crop": 1.5}, r"`crop` must be a whole number of pixels"),
        ({"flip": True}, r"are for images \(n, c, h, w\), the inputs have shape \(50, 4\)"),
        ({"test": (X[:, :2], Y)}, r"test"),
        ({"checkpoint": "here.pt"}, r"`checkpoint` must end in .safetensors, got 'here.pt'"),
        ({"lr": 1e30}, r"the training loss is .* in epoch \d: training diverged; lower `lr`"),
        ({"model": nn.Flatten()}, r"Flatten has no parameter that requires a gradient"),
        ({"model": nn.Sequential(nn.Linear(4, 3), nn.Flatten(0))}, r"must return logits \(n, k\)"),
    ],
)
def test_settings_that_cannot_be_used(change: dict[str, object], words: str) -> None:
    arguments = {"model": net(), "x": X, "y": Y, "epochs": 5, **change}
    with pytest.raises(InputError, match=words):
        train(**arguments)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu() -> None:
    before = torch.cuda.get_rng_state()
    model = train(net(), X, Y, epochs=3, device="cuda")
    assert next(model.parameters()).is_cuda
    assert torch.equal(torch.cuda.get_rng_state(), before)
    assert torch.allclose(weights(model).cpu(), weights(train(net(), X, Y, epochs=3)), **close("steps"))
