"""Compiled, parallel and half-precision models, and ensembles: the same numbers, or a reason why not."""

import copy

import numpy as np
import pytest
import torch
from art.estimators.classification import EnsembleClassifier, PyTorchClassifier
from tolerances import close, rounding
from torch import nn

import art_flat as af
from art_flat.adapters._state import module_attributes_kept
from art_flat.errors import HeadNotFoundError, UnsupportedEstimatorError

X = np.random.default_rng(0).random((6, 8)).astype(np.float32)
Y = np.arange(6) % 3

stances = pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="torch before 2.6")


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 3))


def classifier(model):
    return PyTorchClassifier(model, nn.CrossEntropyLoss(), (8,), 3, clip_values=(0, 1), device_type="cpu")


class Inside(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return 2 * self.model(x)


def compiled_in_place(model):
    model.compile(backend="eager")
    return model


def compiled_and_run(model):
    model = torch.compile(model, backend="eager")
    model.eval()
    model(torch.from_numpy(X))
    return model


WRAPPED = {
    "compiled": lambda m: torch.compile(m, backend="eager"),
    "compiled and run": compiled_and_run,
    "compiled in place": compiled_in_place,
    "compiled inside": lambda m: Inside(torch.compile(m, backend="eager")),
    "parallel": nn.DataParallel,
    "parallel inside": lambda m: Inside(nn.DataParallel(m)),
    "parallel and compiled": lambda m: torch.compile(nn.DataParallel(m), backend="eager"),
}


@stances
@pytest.mark.parametrize("name", WRAPPED)
class TestWrapped:
    def test_same_as_the_plain_model(self, name):
        factor = 2 if "inside" in name else 1
        estimator = classifier(WRAPPED[name](network()))
        net, plain = af.adapt(estimator), af.adapt(classifier(network()))
        np.testing.assert_allclose(net.logits(X), factor * plain.logits(X), **close("net"))
        np.testing.assert_array_equal(net.features(X), plain.features(X))
        torch.testing.assert_close(net.head.weight, factor * plain.head.weight, **close("value", scale=0))
        np.testing.assert_allclose(estimator.predict(X), net.logits(X), **close("net"))
        np.testing.assert_array_equal(net.features(X), plain.features(X))  # also after ART called it

    def test_gradients_and_attacks(self, name):
        net = af.adapt(classifier(WRAPPED[name](network())))
        x = torch.from_numpy(X).requires_grad_()
        net.as_module()(x)[:, 0].sum().backward()
        assert (x.grad != 0).any(dim=1).all()
        found = af.load_attack("art_flat:PGD(steps=3)")(net, X, Y, delta=0.2)
        assert (net.loss(found.x, Y) > net.loss(X, Y)).all()
        assert found.forwards >= 3
        theirs = af.load_attack("art:FastGradientMethod")(net, X, Y, delta=0.2, norm="Linf")
        assert theirs.forwards >= 1
        assert theirs.backwards == 1
        copy.deepcopy(net.as_module())


def test_devices_of_a_parallel_model_are_put_back():
    model = nn.Sequential(nn.DataParallel(network()))
    model[0].device_ids = [0, 1]

    def fail():
        with module_attributes_kept(model):
            assert model[0].device_ids == [0]
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fail()
    assert model[0].device_ids == [0, 1]


@pytest.mark.slow
@stances
def test_really_compiled():
    estimator = classifier(torch.compile(network()))
    net = af.adapt(estimator)
    np.testing.assert_allclose(estimator.predict(X), net.logits(X), **close("net"))


class TestHalfPrecision:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_flatness_and_attacks(self, dtype):
        net, single = af.adapt(classifier(network().to(dtype))), af.adapt(classifier(network()))
        np.testing.assert_allclose(
            net.relative_sharpness(X), single.relative_sharpness(X), rtol=5 * rounding("value", dtype)
        )
        found = af.load_attack("art_flat:PGD(steps=5)")(net, X, Y, delta=0.25)
        assert (net.loss(found.x, Y) > net.loss(X, Y)).mean() > 0.5
        assert found.within_budget.all()


class Average(nn.Module):
    """Logits of several members; their mean is a head of the joined features."""

    def __init__(self, joined):
        super().__init__()
        self.members = nn.ModuleList(network(seed)[:-1] for seed in range(3))
        self.heads = nn.ModuleList(nn.Linear(6, 3) for _ in range(3))
        self.head = nn.Linear(18, 3)
        self.joined = joined

    def forward(self, x):
        phi = [m(x) for m in self.members]
        if self.joined:
            return self.head(torch.cat(phi, dim=1))
        return torch.stack([h(f) for h, f in zip(self.heads, phi, strict=True)]).mean(dim=0)


class TestEnsembles:
    def test_one_head_on_joined_features(self):
        estimator = classifier(Average(joined=True))
        net = af.adapt(estimator)
        assert net.head.weight.shape == (3, 18)
        np.testing.assert_allclose(net.logits(X), estimator.predict(X), **close("net"))

    def test_several_heads_are_no_head(self):
        with pytest.raises(HeadNotFoundError, match=r"something after the layer changes it"):
            af.adapt(classifier(Average(joined=False)))

    def test_arts_ensemble_says_how_to_go_on(self):
        ensemble = EnsembleClassifier(
            [classifier(network(s)) for s in range(2)], clip_values=(0, 1), channels_first=True
        )
        with pytest.raises(UnsupportedEstimatorError, match=r"adapt\.register\(EnsembleClassifier\)"):
            af.adapt(ensemble)


class TestOtherFrameworks:
    @pytest.mark.parametrize("name", ["KerasClassifier", "TensorFlowV2Classifier", "XGBoostClassifier"])
    def test_error_says_how_to_register(self, name):
        from art.estimators import classification

        cls = getattr(classification, name)
        estimator = cls.__new__(cls)  # their frameworks are not needed to be refused
        with pytest.raises(
            UnsupportedEstimatorError,
            match=rf"no adapter for {name}; .*adapt\.register\({name}\)\(function\)",
        ):
            af.adapt(estimator)
