"""All quantities at once equal the single ones, and results cross between devices in few copies."""

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from tolerances import close
from torch import nn
from torch._subclasses import FakeTensorMode

import art_flat as af
from art_flat._utils.arrays import to_tensor
from art_flat.adapters import Adapter, Head, Outputs
from art_flat.adapters._batches import Results
from art_flat.errors import InputError

rng = np.random.default_rng(0)
X, Y = rng.random((7, 1, 4, 4), dtype=np.float32), np.array([0, 1, 2, 0, 1, 2, 0])


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3))
    return af.adapt(
        PyTorchClassifier(model, nn.CrossEntropyLoss(), (1, 4, 4), nb_classes=3, clip_values=(0, 1))
    )


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize("batch_size", [None, 3])
def test_every_column_is_what_its_method_gives(net, kind, batch_size):
    x = kind(X)
    seen = net.measure(x, Y, batch_size=batch_size)
    expected = {"logits": net.logits(x), "features": net.features(x), "loss": net.loss(x, Y)}
    for definition in ("paper", "neuronwise", "unsquared"):
        expected[f"kappa_{definition}"] = net.relative_sharpness(x, definition=definition)
        expected[f"log_kappa_{definition}"] = net.log_relative_sharpness(x, definition=definition)
    assert list(seen) == list(expected)
    for name, value in expected.items():
        assert type(seen[name]) is type(value)
        np.testing.assert_allclose(seen[name], value, err_msg=name, **close("net"))


def test_one_forward_pass_per_batch(net):
    with net.counting() as passes:
        net.measure(X, Y, batch_size=3)
    assert passes.forwards == len(X)


def test_fewer_columns(net):
    assert list(net.measure(X, definitions=["unsquared"])) == [
        "logits",
        "features",
        "kappa_unsquared",
        "log_kappa_unsquared",
    ]


def test_wrong_labels_and_definitions(net):
    with pytest.raises(InputError, match="6 labels for 7 samples"):
        net.measure(X, Y[:-1])
    with pytest.raises(ValueError, match="definition of relative sharpness"):
        net.measure(X, definitions=["papers"])


def batches(n=50, size=10):
    return [[torch.arange(start, start + size), torch.rand(size, 3)] for start in range(0, n, size)]


def collected(home, parts, n=50, **options):
    results = Results(torch.device(home), n, **options)
    for part in parts:
        results.add(part)
    return results.columns()


def test_results_are_written_where_they_stay(monkeypatch):
    parts = batches()
    monkeypatch.setattr(torch, "cat", None)  # no second copy of everything at the end
    numbers, rows = collected("cpu", parts)
    assert torch.equal(numbers, torch.arange(50))
    assert rows.shape == (50, 3)
    assert all(torch.equal(rows[10 * i : 10 * i + 10], part[1]) for i, part in enumerate(parts))


@pytest.mark.parametrize(("carried", "copies"), [(1 << 26, [5, 5]), (500, [3, 3, 2, 2])])
def test_results_of_another_device_are_carried_together(monkeypatch, carried, copies):
    parts, seen, cat = batches(), [], torch.cat
    monkeypatch.setattr(torch, "cat", lambda tensors: (seen.append(len(tensors)), cat(tensors))[1])
    found = collected("meta", parts, carried_bytes=carried)
    assert [(c.device.type, len(c)) for c in found] == [("meta", 50)] * 2
    assert seen == copies


def test_a_file_mapped_into_memory_is_read_in_place(net, tmp_path):
    X.tofile(tmp_path / "x.bin")
    mapped = np.memmap(tmp_path / "x.bin", dtype=np.float32, mode="r", shape=X.shape)
    assert np.shares_memory(to_tensor(mapped, read_only=True).numpy(), mapped)
    np.testing.assert_array_equal(net.logits(mapped), net.logits(X))


def test_a_model_that_writes_into_its_input_changes_nothing_of_the_users():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 3))
    net = af.adapt(
        PyTorchClassifier(model, nn.CrossEntropyLoss(), (1, 4, 4), nb_classes=3, clip_values=(-1, 1))
    )
    x = 2 * X - 1
    before = x.copy()
    net.relative_sharpness(x)
    net.features(torch.from_numpy(x))
    x.flags.writeable = False
    net.predict(x)
    np.testing.assert_array_equal(x, before)


class OnDevice(Adapter):
    """A linear classifier of tensors without values on a device that need not exist."""

    def __init__(self, k, d):
        place = torch.device("cuda", 0)
        super().__init__(
            None, nb_classes=k, input_shape=(d,), clip_values=None, device=place, dtype=torch.float32
        )
        self._head = Head.from_layer(torch.empty(k, d, device=place), torch.empty(k, device=place), "")

    @property
    def head(self):
        return self._head

    def forward(self, x):
        return Outputs(x @ self.head.weight.T + self.head.bias, x)

    def as_module(self, *, unit_range=False, estimate_gradients=False):
        return nn.Identity()

    def identity(self):
        return {"sha256": "0"}

    def measure_unchecked(self, x, y, batch_size):
        names, values = self._measurements(y, ["paper", "neuronwise", "unsquared"])
        return dict(zip(names, self._batched(x, values, batch_size, x.device), strict=True))


@pytest.mark.parametrize("k", [2, 100])
def test_batches_stay_on_the_device_and_do_not_wait(k):
    """Inputs and labels are looked at once, before the first batch; what is done with batches looks at nothing."""
    with FakeTensorMode():
        x, y = torch.empty(7, 5, device="cuda"), torch.empty(7, dtype=torch.int64, device="cuda")
        seen = OnDevice(k, 5).measure_unchecked(x, y, batch_size=3)
    assert {(len(column), column.device.type) for column in seen.values()} == {(7, "cuda")}
