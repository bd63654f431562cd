"""Untrusted files and texts: they are read or rejected with a clear error, and no code in them runs."""

import json
import pickle
import random
import string
import time
import tomllib

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import art_flat as af
from art_flat.attacks.registry import parse_spec
from art_flat.cli.config import RunConfig, parse_config, read_config
from art_flat.errors import ArtFlatError, ConfigError, InputError
from art_flat.models import load_weights, save_weights
from art_flat.records.manifest import manifest_text, parse_manifest
from art_flat.records.schema import SCHEMA_VERSION

TOML = """
seed = 3
deltas = { Linf = ["2/255", 0.15], L2 = [0.5] }
epsilons = [0.1, 1]
attacks = ["fast", "art_flat:PGD(steps=4)"]
shard_size = 100
time_limit = 60.0
[models.small]
factory = "mynet:make"
weights = "weights.safetensors"
options = { width = 2 }
[data]
name = "npz"
path = "data.npz"
n = 20
[analyses]
trajectories = ["art_flat:PGD"]
scale_sweep = true
"""
MANIFEST = {
    "run": "0123abcd",
    "seed": 0,
    "threads": 1,
    "n_samples": 3,
    "clean_units": ["aa", "bb"],
    "n_units": 4,
    "epsilons": [0.1],
    "deltas": {"Linf": [0.1]},
    "models": {"m": {"sha256": "00"}},
    "certificates": {"m": {"lipschitz": {"Linf": 1.5}, "missing": {}}},
    "attacks": [
        {
            "name": "a", "hash": "b", "library_version": "1", "norms": ["Linf"], "budget": "fixed",
            "access": "white-box", "maximises_loss": True, "usability": "usable", "notes": [], "run_in": ["Linf"],
        }
    ],
}  # fmt: skip
LONGEST = 5.0
"""Seconds that reading a small file may take on a busy machine."""


def mutated(text, chance):
    """A text with some pieces changed, dropped, doubled, or replaced by something awkward."""
    awkward = [
        "[",
        "]",
        "{",
        "}",
        '"',
        "'",
        "=",
        ",",
        "\n",
        "\\",
        "\x00",
        "1e999",
        "-1",
        "nan",
        "inf",
        "é",
        "#",
        "../",
        ":",
    ]
    awkward += [
        "[" * 40,
        "9" * 30,
        "true",
        "[[a]]",
        '"""',
        "\ud7ff",
        "null",
        "__import__('os')",
        "0x",
        "1979-05-27",
        ".",
    ]
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(text) + 1)
        end = min(len(text), at + chance.choice([0, 1, 1, 3, 20]))
        piece = chance.choice(
            [*awkward, chance.choice(string.printable), text[at:end] * 2, text[end : end + 30]]
        )
        text = text[:at] + piece + text[end:]
    return text


def read_manifest(path):
    return parse_manifest(path.read_bytes(), path)


def read_all(paths, n, seed):
    """Read `n` mutated configurations and manifests; gives how many were accepted."""
    chance = random.Random(seed)
    config, manifest = paths
    manifest_json = manifest_text(MANIFEST)
    accepted, slowest = 0, 0.0
    for i in range(n):
        read, path, text = ((read_config, config, TOML), (read_manifest, manifest, manifest_json))[i % 2]
        path.write_bytes(mutated(text, chance).encode("utf-8", "surrogatepass"))
        began = time.perf_counter()
        try:
            read(path)
            accepted += 1
        except ArtFlatError as error:
            assert str(error)  # noqa: PT017
        slowest = max(slowest, time.perf_counter() - began)
    assert slowest < LONGEST
    return accepted


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "config.toml", tmp_path / "manifest.json"


def test_mutated_files(paths):
    paths[0].write_text(TOML)
    paths[1].write_text(manifest_text(MANIFEST))
    assert read_config(paths[0])[0].seed == 3
    assert read_manifest(paths[1])["seed"] == 0
    assert 0 < read_all(paths, 600, 0) < 600


@pytest.mark.slow
def test_mutated_files_at_length(paths):
    n = 100_000
    accepted = read_all(paths, n, 1)
    print(f"{n} mutated files, {accepted} of them still valid")
    assert 0 < accepted < n


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["fast", "Linf", "1/0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_configurations_of_any_values(data):
    raw = tomllib.loads(TOML)
    place = raw
    while True:
        key = data.draw(st.sampled_from([*place, "another"]))
        if isinstance(place.get(key), dict) and data.draw(st.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(VALUES)
        break
    try:
        config = parse_config(raw)
    except ConfigError as error:
        assert str(error).startswith("the configuration:\n  ")  # noqa: PT017
    else:
        assert isinstance(config, RunConfig)
        assert parse_config(config.model_dump(exclude_none=True)) == config


@settings(deadline=None, max_examples=200)
@given(
    st.text(max_size=40)
    | st.builds(lambda inner: f"art:PGD({inner})", st.text(alphabet="a=1,()'[]{}:\"-.\\ \n", max_size=20))
)
def test_attacks_of_any_text(text):
    try:
        name, params = parse_spec(text)
    except InputError as error:
        assert "cannot read the attack" in str(error)  # noqa: PT017
    else:
        assert isinstance(name, str)
        assert all(isinstance(key, str) for key in params)


@pytest.mark.parametrize(
    "spec",
    [
        "art:PGD(x=__import__('os').system('true'))",
        "art:PGD(x=open('f'))",
        "(lambda: 0)()",
        "art:PGD(**{'a': 1})",
    ],
)
def test_attacks_cannot_run_code(spec):
    with pytest.raises(ArtFlatError):
        af.load_attack(spec)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from(["int64", "int32", "uint8", "list", "one-hot", "one-hot float", "torch", "column"]),
    n=st.integers(1, 24),
)
def test_labels_of_any_form_give_the_same_losses(digits, form, n):
    net, x, y = digits
    x, y = x[:n], np.asarray(y[:n])
    labels = {
        "int64": y.astype(np.int64), "int32": y.astype(np.int32), "uint8": y.astype(np.uint8), "list": y.tolist(),
        "one-hot": np.eye(10, dtype=int)[y], "one-hot float": np.eye(10, dtype=np.float32)[y],
        "torch": torch.as_tensor(y), "column": y[:, None],
    }[form]  # fmt: skip
    try:
        loss = net.loss(x, labels)
    except InputError:
        assert form == "column"
    else:
        np.testing.assert_array_equal(loss, net.loss(x, y))


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.lists(st.integers(0, 9), min_size=0, max_size=5), fill=st.sampled_from([0.5, np.nan, 2.0, -1.0])
)
def test_inputs_of_any_shape_are_taken_or_refused(digits, shape, fill):
    net = digits[0]
    x = np.full(shape, fill, dtype=np.float32)
    try:
        out = net.logits(x)
    except InputError as error:
        assert str(error)  # noqa: PT017
    else:
        assert tuple(shape[1:]) == net.input_shape
        assert fill == 0.5
        assert out.shape == (shape[0], 10)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
@pytest.mark.slow
def test_records_of_any_values_come_back_as_they_were(tmp_path, data):
    from art_flat.records.schema import TABLES, make_frame
    from art_flat.records.store import Store

    n = data.draw(st.integers(0, 4))
    kinds = {"double": st.floats() | st.none(), "int64": st.integers(-(2**63), 2**63 - 1) | st.none()}
    kinds |= {"string": st.text(max_size=6) | st.none(), "bool": st.booleans() | st.none()}
    table = data.draw(st.sampled_from(sorted(TABLES)))
    columns = {
        c: data.draw(st.lists(kinds[str(kind)], min_size=n, max_size=n)) for c, kind in TABLES[table].items()
    }
    for column, kind in TABLES[table].items():
        if str(kind) == "double":
            columns[column] = np.array([np.nan if v is None else v for v in columns[column]])
    frame = make_frame(table, columns, n)
    store = Store(tmp_path, "run")
    store.write_unit(table, "unit", frame)
    back = store.read_unit(table, "unit")
    for column in frame:
        one, other = (f[column].astype(object).where(f[column].notna(), None).tolist() for f in (frame, back))
        assert one == other


# weights


class Trap:
    def __reduce__(self):
        return pytest.fail, ("the pickle was opened",)


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.pkl", "w.bin"])
def test_pickles_are_refused_unless_trusted(tmp_path, name):
    net = torch.nn.Linear(2, 2)
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match=r"--trust"):
        load_weights(net, path)
    torch.save(net, path)
    with pytest.raises(InputError, match=r"--trust"):
        load_weights(net, path)
    with torch.random.fork_rng():
        other = torch.nn.Linear(2, 2)
    assert torch.equal(load_weights(other, path, trust=True).weight, net.weight)


def test_weights_of_tensors_need_no_trust(tmp_path):
    net = torch.nn.Linear(2, 2)
    torch.save(net.state_dict(), tmp_path / "w.pt")
    save_weights(net, tmp_path / "w.safetensors")
    for name in ("w.pt", "w.safetensors"):
        with torch.random.fork_rng():
            assert torch.equal(load_weights(torch.nn.Linear(2, 2), tmp_path / name).weight, net.weight)


def test_a_manifest_is_as_strict_as_it_is_written():
    with pytest.raises(ValueError, match="not JSON compliant"):
        manifest_text({**MANIFEST, "epsilons": [float("nan")]})
    assert json.loads(manifest_text(MANIFEST))["schema"] == SCHEMA_VERSION
