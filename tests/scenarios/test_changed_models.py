"""A results folder is continued, and its parts merged, only by models that compute the same function."""

import shutil
import sys

import numpy as np
import pytest
import torch
from sampling import mostly_slow
from torch import nn

import art_flat as af
from art_flat.errors import StoreError
from art_flat.evaluation.merging import merge
from art_flat.evaluation.probing import fingerprint
from art_flat.models import as_classifier

X = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(1)).numpy()
Y = np.arange(12) % 3
GAIN = 1.0


class Net(nn.Module):
    """A net with something of everything that state_dict and the text of classes do not hold."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.pool, self.act, self.fc = nn.AvgPool2d(2), nn.LeakyReLU(0.1), nn.Linear(16, 3)
        self.mean, self.std, self.offsets, self.function = 0.5, torch.tensor(0.25), [0.1], torch.tanh
        self.sharpen = False
        self.register_buffer("mask", torch.ones(4, 4), persistent=False)

    def forward(self, x):
        h = self.norm(self.conv((x - self.mean) / self.std * self.mask)) + self.offsets[0]
        z = self.fc(self.function(self.pool(self.act(h))).flatten(1)) * GAIN
        return z * 2 if self.sharpen else z


def classifier(change=lambda net: None, **options):
    torch.manual_seed(0)
    net = Net()
    change(net)
    return as_classifier(net, input_shape=(1, 4, 4), nb_classes=3, **options)


def run(model, out=None, **options):
    chosen = {"attacks": ["art_flat:PGD(steps=1)"], "deltas": {"Linf": [0.1]}, "certify": None}
    return af.evaluate({"m": model}, X, Y, out=out, shard_size=6, **chosen | options)


def assign(name, value):
    return lambda net: setattr(net, name, value)


CHANGES = {
    "activation": assign("act", nn.ReLU()),
    "slope of an activation": lambda net: setattr(net.act, "negative_slope", 0.11),
    "epsilon of batch norm": lambda net: setattr(net.norm, "eps", 1.1e-5),
    "epsilon of batch norm, large": lambda net: setattr(net.norm, "eps", 0.1),
    "padding mode": lambda net: setattr(net.conv, "padding_mode", "reflect"),
    "pooling": assign("pool", nn.MaxPool2d(2)),
    "plain number": assign("mean", 0.4),
    "plain tensor": assign("std", torch.tensor(0.3)),
    "element of a plain list": lambda net: net.offsets.__setitem__(0, 0.2),
    "function in an attribute": assign("function", torch.sigmoid),
    "flag": assign("sharpen", True),
    "non-persistent buffer": lambda net: net.mask[0].zero_(),
    "forward of the instance": lambda net: setattr(net, "forward", lambda x: Net.forward(net, x.flip(-1))),
    "hook": lambda net: net.act.register_forward_hook(lambda module, args, output: output.relu()),
}


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    folder = tmp_path_factory.mktemp("started") / "run"
    run(classifier(), folder, part="1/2")
    return folder


@pytest.mark.filterwarnings("ignore:Using padding")
@pytest.mark.parametrize(
    "what", mostly_slow(CHANGES, quick=["activation", "epsilon of batch norm", "plain number", "hook"])
)
def test_another_function_is_neither_continued_nor_merged(started, tmp_path, what):
    other = classifier(CHANGES[what])
    with pytest.raises(StoreError, match=r"'m' is a different function|models\.m\.layers"):
        run(other, started)
    run(other, tmp_path / "other", part="2/2")
    with pytest.raises(StoreError, match="hold different runs and cannot be merged"):
        merge([started, tmp_path / "other"], tmp_path / "merged")
    assert not (tmp_path / "merged" / "adversarial").exists()


def test_a_global_is_part_of_the_function(started, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "GAIN", 1.5)
    with pytest.raises(StoreError, match=r"outputs there and now differ by 0\.33 of their size"):
        run(classifier(), started)


@pytest.mark.parametrize("preprocessing", [(0.5, 0.5), (0.0, 0.9)])
def test_preprocessing_is_part_of_the_function(started, preprocessing):
    with pytest.raises(StoreError, match=r"models\.m\.sha256"):
        run(classifier(preprocessing=preprocessing), started)


def test_rounding_of_another_machine_is_the_same_function(started, tmp_path, monkeypatch):
    whole = run(classifier())
    monkeypatch.setattr(sys.modules[__name__], "GAIN", 1 + 2e-6)
    run(classifier(), tmp_path / "second", part="2/2")
    merged = merge([started, tmp_path / "second"], tmp_path / "merged").results
    assert merged.missing_units == 0
    np.testing.assert_allclose(merged.clean["loss"], whole.clean["loss"], rtol=1e-4)


def test_the_same_model_made_anew_is_continued(tmp_path):
    first = run(classifier(), tmp_path / "run", part="1/2")
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "run" / "adversarial").iterdir()}
    again = run(classifier(), tmp_path / "run")
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "run" / "adversarial").iterdir()}
    assert first.missing_units > again.missing_units == 0
    assert before.items() <= after.items()


def test_features_count_even_where_the_logits_are_the_same(tmp_path):
    """κ depends on the features, which a factor before the head that is divided out after it changes."""

    class Scaled(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.fc, self.factor = nn.Linear(16, 3), factor

        def forward(self, x):
            return self.fc(x.flatten(1) * self.factor) / self.factor

    def scaled(factor):
        torch.manual_seed(0)
        net = Scaled(factor)
        nn.init.zeros_(net.fc.bias)
        return as_classifier(net, input_shape=(1, 4, 4), nb_classes=3)

    run(scaled(1.0), tmp_path / "run")
    with pytest.raises(StoreError, match="'m' is a different function"):
        run(scaled(4.0), tmp_path / "run")


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        return self.fc(x.flatten(1) + 0.1 * torch.randn(1, 16))


def test_a_random_model_is_reported_and_not_continued(tmp_path):
    torch.manual_seed(0)
    noisy = as_classifier(Noisy(), input_shape=(1, 4, 4), nb_classes=3)
    results = run(noisy, tmp_path / "run", part="1/2")
    said = [f for f in results.findings() if f.id == "unstable-predictions" and "two passes" in f.what]
    assert [f.severity for f in said] == ["error"]
    with pytest.raises(StoreError, match="'m' is random"):
        run(noisy, tmp_path / "run", part="2/2")
    run(noisy, tmp_path / "second", part="2/2")
    with pytest.raises(StoreError, match="'m' is random"):
        merge([tmp_path / "run", tmp_path / "second"])
    assert not any(f.id == "unstable-predictions" for f in run(classifier()).findings())


def test_units_of_unknown_models_are_not_continued(started, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(started, folder)
    (folder / "fingerprints.safetensors").unlink()
    with pytest.raises(StoreError, match="neither continued nor merged"):
        run(classifier(), folder)
    assert len(af.Results.load(folder).adversarial)


@pytest.mark.parametrize("clip", [(0.0, 1.0), (-np.inf, np.inf), (0.0, 255.0)])
def test_probes_lie_in_the_clip_range_and_leave_no_trace(clip):
    model = classifier(clip_values=clip)
    net, seen = af.adapt(model), []
    model.model.conv.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    torch.manual_seed(3)
    found = fingerprint(net, X)
    drawn = torch.rand(2)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(2))
    assert found.logits.shape == (16, 3)
    assert found.features.shape == (16, 16)
    assert found.self_difference == 0
    plain = (torch.cat(seen) * 0.25 + 0.5).double()
    high = 255.0 if clip[1] == 255 else 1.0
    assert plain.min() >= -1e-5
    assert 0.9 * high <= plain.max() <= high * (1 + 1e-5)


@pytest.mark.slow
def test_two_models_with_the_same_weights_are_two_in_workers(tmp_path):
    """One worker process makes both, and both again in the next run, whatever it keeps."""
    models = {"leaky": classifier(), "tanh": classifier(assign("act", nn.Tanh()))}
    models["tanh"].model.mean = 0.4
    here = {name: run(model).clean for name, model in models.items()}
    options = {
        "attacks": ["art_flat:PGD(steps=1)"],
        "deltas": {"Linf": [0.1]},
        "certify": None,
        "shard_size": 6,
    }
    both = af.evaluate(models, X, Y, n_jobs=2, **options).clean
    for name, alone in here.items():
        np.testing.assert_array_equal(both[both["model"] == name]["loss"], alone["loss"])


@pytest.mark.slow
def test_a_worker_that_makes_another_function_is_refused(monkeypatch):
    """The global that a worker imports is not the one that was set here."""
    monkeypatch.setattr(sys.modules[__name__], "GAIN", 1.5)
    with pytest.raises(StoreError, match="made in a worker is a different function than here"):
        run(classifier(), n_jobs=2)
