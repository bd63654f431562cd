"""The contract of every attack, as a pytest class for plugin authors.

```python
from art_flat.testing import AttackContract

class TestMyAttack(AttackContract):
    attack = "mypackage:MyAttack(steps=5)"
    norm = "L2"
    delta = 1.0
    strength = 0.5      # share of clean-correct samples that must be misclassified on a small trained net
```
"""

from __future__ import annotations

import contextlib
import copy
import functools
import random
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from .._utils.modes import restore_modes
from ..adapters import Adapter, adapt
from ..attacks.base import Attack, AttackResult
from ..attacks.registry import load_attack
from ..datasets import load_dataset
from ..models import as_classifier
from ..training import trained_digits_cnn
from ..typing import Norm


@functools.cache
def small_problem(n: int = 24) -> tuple[Adapter, np.ndarray, np.ndarray]:
    """An adapted digits CNN trained for seconds, with `n` test images and their labels.

    Args:
        n: Number of test images.

    Returns:
        The adapter, x of shape (n, 1, 8, 8) in [0, 1], y of shape (n,).
    """
    test = load_dataset("digits", split="test", n=n)
    net = copy.deepcopy(_trained())
    return adapt(as_classifier(net, input_shape=(1, 8, 8), nb_classes=10)), test.x, test.y


@functools.cache
def _trained() -> nn.Module:
    return trained_digits_cnn()


class AttackContract:
    """Subclass it and set the class attributes; pytest runs every test below on your attack.

    Attributes:
        attack: A name as `load_attack` takes it, or an `Attack`.
        norm: Norm of the runs.
        delta: Radius in units of the problem's clip range, [0, 1] unless `problem` is overridden.
        strength: Share of clean-correct samples that must be misclassified inside the ball; an attack without effect
            must fail, so it is greater than 0 unless the attack is a control.
    """

    attack: ClassVar[str | Attack]
    norm: ClassVar[Norm] = "Linf"
    delta: ClassVar[float] = 0.3
    strength: ClassVar[float] = 0.5

    @pytest.fixture
    def problem(self) -> tuple[Adapter, np.ndarray, np.ndarray]:
        """Classifier, inputs and labels to attack; override it to use other ones."""
        return small_problem()

    @classmethod
    def _attack(cls) -> Attack:
        return load_attack(cls.attack) if isinstance(cls.attack, str) else cls.attack

    def _run(self, net: Adapter, x: Any, y: Any, **options: Any) -> AttackResult:
        return self._attack()(net, x, y, delta=self.delta, norm=self.norm, **options)

    _results: ClassVar[dict[tuple[Any, ...], AttackResult]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._results = {}

    def _run_once(self, net: Adapter, x: np.ndarray, y: np.ndarray, **options: Any) -> AttackResult:
        """As `_run`, once per class: the tests share results, since attacks take most of their time."""
        key = _run_key(net, x, y, options)
        if key not in self._results:
            self._results[key] = self._run(net, x, y, **options)
        return self._results[key]

    def test_state_is_unchanged(
        self, problem: tuple[Adapter, np.ndarray, np.ndarray], capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Model, inputs and random generators are unchanged, and nothing is printed."""
        net, x, y = problem
        before_x, before_y = x.copy(), y.copy()
        model = getattr(net.estimator, "model", None)
        with _in_mixed_modes(model):
            before, draws = _model_state(model), _rng_state()
            result = self._run(net, x, y)
            for name, value in _model_state(model).items():
                assert _is_same(value, before.pop(name, None)), f"{name} changed"
            assert not before, f"{', '.join(before)} vanished"
            assert _rng_state() == draws
        np.testing.assert_array_equal(x, before_x)
        np.testing.assert_array_equal(y, before_y)
        out, err = capfd.readouterr()
        assert not out
        assert not err
        self._results[_run_key(net, x, y, {})] = result  # the next tests look at the points

    def test_points_are_inside_ball_and_range(self, problem: tuple[Adapter, np.ndarray, np.ndarray]) -> None:
        """Finite points of the shape of x, inside the range, and successes inside the ball."""
        net, x, _ = problem
        result = self._run_once(*problem)
        assert isinstance(result.x, np.ndarray)
        assert result.x.shape == x.shape
        assert np.isfinite(result.x).all()
        low, high = net.clip_values or (-np.inf, np.inf)
        assert result.x.min() >= low
        assert result.x.max() <= high
        shift = (result.x.astype(np.float64) - x.astype(np.float64)).reshape(len(x), -1)
        order = {"Linf": np.inf, "L2": 2, "L1": 1, "L0": 0}[self.norm]
        length = np.linalg.norm(shift, ord=order, axis=1)
        np.testing.assert_allclose(result.distance, length, rtol=1e-12, atol=1e-12)
        assert (length[np.asarray(result.success)] <= self.delta).all()
        assert (np.asarray(result.within_budget) == (length <= self.delta)).all()
        if self._attack().info.budget == "fixed":
            assert np.asarray(result.within_budget).all()

    def test_success_agrees_with_the_classifier(
        self, problem: tuple[Adapter, np.ndarray, np.ndarray]
    ) -> None:
        """Success agrees with the estimator's own predictions, and reaches `strength`."""
        net, x, y = problem
        result = self._run_once(*problem)
        wrong = net.estimator.predict(result.x).argmax(axis=1) != y
        np.testing.assert_array_equal(result.success, wrong & np.asarray(result.within_budget))
        right = np.asarray(net.predict(x)) == y
        assert (np.asarray(result.success)[right].mean() >= self.strength) or self.strength == 0

    def test_same_seed_same_points(self, problem: tuple[Adapter, np.ndarray, np.ndarray]) -> None:
        """The seed determines the points, for any state of the global generators."""
        net, x, y = problem
        first = self._run_once(net, x[:4], y[:4], seed=7)
        torch.rand(3)
        np.random.rand(3)
        random.random()
        again = self._run(net, x[:4], y[:4], seed=7)
        np.testing.assert_array_equal(first.x, again.x)

    def test_label_forms_and_torch_agree(self, problem: tuple[Adapter, np.ndarray, np.ndarray]) -> None:
        """Indices, one-hot rows and tensors give the same points, as the same kind of array."""
        net, x, y = problem
        x, y = x[:4], y[:4]
        plain = self._run_once(net, x, y, seed=7)
        one_hot = self._run(net, x, np.eye(net.nb_classes, dtype=np.float32)[y], seed=7)
        tensors = self._run(net, torch.from_numpy(x), torch.from_numpy(y), seed=7)
        np.testing.assert_array_equal(plain.x, one_hot.x)
        assert isinstance(tensors.x, torch.Tensor)
        assert not tensors.x.requires_grad
        np.testing.assert_array_equal(plain.x, tensors.x.numpy())

    def test_one_sample(self, problem: tuple[Adapter, np.ndarray, np.ndarray]) -> None:
        """A batch of one works."""
        net, x, y = problem
        assert self._run(net, x[:1], y[:1]).x.shape == x[:1].shape


def _run_key(net: Adapter, x: np.ndarray, y: np.ndarray, options: dict[str, Any]) -> tuple[Any, ...]:
    return net, x.tobytes(), y.tobytes(), *options.items()


@contextlib.contextmanager
def _in_mixed_modes(model: Any) -> Iterator[None]:
    """A torch model in training mode, but for its last module, inside the block."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.training = module is not modules[-1]
        yield
    finally:
        restore_modes(modules, modes)


def _model_state(model: Any) -> dict[str, Any]:
    """Modes, hooks, gradients and copies of the weights and buffers of a torch model, by name."""
    state: dict[str, Any] = {}
    if not isinstance(model, nn.Module):
        return state
    for name, module in model.named_modules():
        state[f"mode of {name!r}"] = module.training
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        state[f"hooks of {name!r}"] = [list(registry) for registry in hooks]
    state |= {f"gradient of {name!r}": p.grad for name, p in model.named_parameters()}
    return state | {f"{name!r}": value.clone() for name, value in model.state_dict().items()}


def _is_same(now: Any, before: Any) -> bool:
    if now is before or not isinstance(now, torch.Tensor):
        return now is before or bool(now == before)
    return bool(torch.equal(now, before))


def _rng_state() -> tuple[Any, ...]:
    """States of the global generators of torch, NumPy and Python, as lists that can be compared."""
    numpy_state: Any = np.random.get_state()
    return torch.get_rng_state().tolist(), numpy_state[1].tolist(), random.getstate()


__all__ = ["AttackContract", "small_problem"]
