"""Functions of the user that return other types, write into their inputs, or change global settings."""

import random

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import art_flat as af
from art_flat.attacks import as_attack
from art_flat.errors import BudgetError
from art_flat.models import as_classifier

X = np.random.default_rng(0).random((5, 1, 3, 3)).astype(np.float32) / 2
Y = np.arange(5) % 3


@pytest.fixture
def net():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).eval()
    return af.adapt(as_classifier(model, input_shape=(1, 3, 3), nb_classes=3))


def attacked(net, function, x=X, **options):
    return as_attack(function, name="mine")(net, x, Y, radii={"Linf": [0.1]}, **options)


FORMS = {
    "list": lambda x: x.tolist(),
    "list of tensors": list,
    "tuple of arrays": lambda x: tuple(x.numpy()),
    "array": lambda x: x.numpy(),
    "array of objects": lambda x: np.array(x.tolist(), dtype=object),
    "read-only array": lambda x: np.broadcast_to(x.numpy(), x.shape),
    "float64": lambda x: x.double(),
    "big-endian array": lambda x: x.numpy().astype(">f8"),
    "gradient": lambda x: x.requires_grad_(),
    "sparse": lambda x: x.to_sparse(),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_that_are_converted(net, form):
    expected = attacked(net, lambda module, x, y: x + 0.1)
    result = attacked(net, lambda module, x, y: FORMS[form](x + 0.1))
    np.testing.assert_array_equal(result.x, expected.x)
    assert result.x.dtype == np.float32
    assert result.within_budget.all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.bool, torch.int64])
def test_other_dtypes_keep_their_values(net, dtype):
    result = attacked(net, lambda module, x, y: (2 * x).round().to(dtype))
    np.testing.assert_array_equal(result.x, (2 * X).round())


def test_data_frames_of_tabular_inputs(linear):
    net = linear(np.random.default_rng(1).normal(size=(3, 4)))
    x = np.random.default_rng(0).random((5, 4)).astype(np.float32) / 2
    expected = attacked(net, lambda module, x, y: x + np.float32(0.1), x)
    for form in (pd.DataFrame, lambda a: pd.DataFrame(a).astype("Float64")):
        result = attacked(net, lambda module, x, y, form=form: form(x.numpy() + np.float32(0.1)), x)
        np.testing.assert_array_equal(result.x, expected.x)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: None, "returned NoneType where points of shape"),
        (lambda x: x[:2], r"returned \(2, 1, 3, 3\) where"),
        (lambda x: x.flatten(1), r"returned \(5, 9\) where"),
        (lambda x: pd.DataFrame(x.flatten(1).numpy()), r"returned \(5, 9\) where"),
        (lambda x: 0.5, r"returned \(\) where"),
        (lambda x: (x, x), r"returned \(2, 5, 1, 3, 3\) where"),
        (lambda x: [[1, 2], [3]], "returned list where .* all samples must have one shape"),
        (lambda x: {"x": x}, "returned dict where"),
        (lambda x: "points", "returned str where .* got text such as 'points'"),
        (lambda x: iter(x), "returned .*iterator where"),
        (
            lambda x: x.to(torch.complex64),
            "returned Tensor where .* must hold real numbers, got torch.complex64",
        ),
        (lambda x: x.to("meta"), "returned a tensor on the meta device"),
        (lambda x: np.ma.masked_greater(x.numpy(), 0.2), "returned MaskedArray where .* masked values"),
    ],
)
def test_forms_that_are_refused_in_one_sentence(net, function, words):
    with pytest.raises(BudgetError, match=words) as error:
        attacked(net, lambda module, x, y: function(x))
    assert "\n" not in str(error.value)
    results = af.evaluate(
        net, X, Y, attacks=[as_attack(lambda module, x, y: function(x), name="mine")], deltas={"Linf": [0.1]}
    )
    assert results.failures()["error"].str.contains("the attack returned").all()


def test_inputs_changed_in_place(net):
    class InPlace(type(as_attack(lambda module, x, y: x, name="mine"))):
        def run(self, problem):
            problem.y.zero_()
            return problem.x.add_(0.1)

    x, y = torch.from_numpy(X.copy()), torch.from_numpy(Y.copy())
    expected = attacked(net, lambda module, x, y: x + 0.1, torch.from_numpy(X))
    plain = as_attack(lambda module, x, y: x.add_(0.1), name="mine")
    own = InPlace(plain.info, {}, plain._subject, plain.source)
    for attack in (plain, own):
        result = attack(net, x, y, radii={"Linf": [0.1]})
        assert torch.equal(result.x, expected.x)
        assert torch.equal(result.distance, expected.distance)
        assert torch.equal(result.success, expected.success)
    assert np.array_equal(x, X)
    assert np.array_equal(y, Y)


def generators():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


SETTINGS = {
    "default dtype": (lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
    "default device": (lambda: torch.set_default_device("meta"), torch.get_default_device),
    "deterministic algorithms": (
        lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        torch.are_deterministic_algorithms_enabled,
    ),
    "cuDNN flags": (
        lambda: setattr(torch.backends.cudnn, "benchmark", not torch.backends.cudnn.benchmark),
        lambda: torch.backends.cudnn.benchmark,
    ),
    "precision of matrix products": (
        lambda: torch.set_float32_matmul_precision("medium"),
        torch.get_float32_matmul_precision,
    ),
    "threads": (lambda: torch.set_num_threads(torch.get_num_threads() + 1), torch.get_num_threads),
    "anomaly detection": (lambda: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled),
    "NumPy's errors": (lambda: np.seterr(all="raise"), np.geterr),
}
QUIET = {
    "gradients": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "random state": (lambda: (torch.manual_seed(1), np.random.seed(1), random.seed(1)), generators),
}


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("setting", [*SETTINGS, *QUIET])
def test_global_settings_are_restored(net, setting, fails):
    change, read = {**SETTINGS, **QUIET}[setting]
    before = read()

    def careless(module, x, y):
        change()
        if fails:
            raise RuntimeError("broken")
        return x

    if fails:
        with pytest.raises(RuntimeError, match="broken"):
            attacked(net, careless)
    else:
        result = attacked(net, careless)
        named = any(f"changed global settings: {setting} (restored)" in w for w in result.warnings)
        assert named == (setting in SETTINGS)
    assert read() == before


def test_training_mode_is_restored(net):
    def careless(module, x, y):
        module.wrapper.train()
        return x

    result = attacked(net, careless)
    assert not any(part.training for part in net.estimator.model.modules())
    assert "changed the model's mode (restored)" in result.warnings
