"""Results folders: damage is detected, foreign files are not read, and no file is deleted."""

import json
import shutil
import threading

import pytest
from run_cases import same, small_run

import art_flat as af
from art_flat._utils.files import write_atomically
from art_flat.errors import StoreError
from art_flat.evaluation.preparation import EnvironmentWarning
from art_flat.records.checked_folder import CheckedFolder
from art_flat.records.schema import SCHEMA_VERSION
from art_flat.records.store import DamagedFileWarning, Store

pytestmark = pytest.mark.slow

ONE = {"attacks": ["art_flat:PGD(steps=2)"], "deltas": {"Linf": [0.1]}}


@pytest.fixture(scope="module")
def undisturbed():
    return af.evaluate(**small_run(**ONE))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    af.evaluate(**small_run(**ONE), out=folder, save_adversarial=True)
    return folder


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def again(run, **changes):
    return af.evaluate(**small_run(**ONE), out=run, **changes)


def rewrite(run, path, content):
    """Change a file as art_flat would, its checksum with it."""
    CheckedFolder(run).write(path, content)


def test_a_file_under_another_name_is_not_taken_for_it(run):
    first, second = sorted((run / "adversarial").iterdir())[:2]
    shutil.copy(first, second)
    with pytest.raises(StoreError, match="has a different unit"):
        af.Results.load(run)


def test_damaged_units_are_set_aside_and_computed_again(run, undisturbed):
    files = sorted((run / "adversarial").iterdir())
    files[0].write_bytes(files[0].read_bytes()[:-100])
    files[1].write_bytes(b"")
    shutil.copy(files[3], files[2])
    clean = next((run / "clean").iterdir())
    clean.write_bytes(clean.read_bytes().replace(b"tiny", b"tony"))
    with pytest.raises(StoreError, match="it is damaged, or was not written by art_flat"):
        af.Results.load(run)
    kept = files[3].stat().st_mtime_ns
    with pytest.warns(DamagedFileWarning) as said:
        results = again(run)
    assert len(said) == 4
    same(results, undisturbed)
    assert len(list((run / "damaged").iterdir())) == 4
    assert files[3].stat().st_mtime_ns == kept


def test_damaged_points_are_computed_again(run, undisturbed):
    file = next(p for p in (run / "points").iterdir() if p.name != "clean.safetensors")
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.warns(DamagedFileWarning):
        results = again(run, save_adversarial=True)
    assert file.read_bytes() == content
    same(results, undisturbed)


def test_units_of_another_run_are_set_aside(run, tmp_path, undisturbed):
    af.evaluate(**small_run(**ONE, seed=5), out=tmp_path / "other")
    foreign = next((tmp_path / "other" / "adversarial").iterdir())
    rewrite(run, run / "adversarial" / foreign.name, foreign.read_bytes())
    with pytest.raises(StoreError, match="has a different run"):
        af.Results.load(run)
    with pytest.warns(DamagedFileWarning, match="is not a unit of this run"):
        same(again(run), undisturbed)


def test_files_that_are_not_units_are_left_alone(run, undisturbed):
    (run / "adversarial" / "notes.txt").write_text("mine")
    (run / "adversarial" / ".abc.parquet.1234.part").write_bytes(b"half")
    same(again(run), undisturbed)
    assert (run / "adversarial" / "notes.txt").read_text() == "mine"


def test_links_that_lead_out_of_the_folder_are_not_followed(run, tmp_path):
    secret = tmp_path / "secret.parquet"
    unit = next((run / "adversarial").iterdir())
    unit.rename(secret)
    unit.symlink_to(secret)
    with pytest.raises(StoreError, match="leads out of"):
        af.Results.load(run)
    shutil.rmtree(run / "adversarial")
    (tmp_path / "elsewhere").mkdir()
    (run / "adversarial").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="leads out of"):
        again(run)
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(schema=1), f"has schema 1, this version reads schema {SCHEMA_VERSION}"),
        (lambda m: m.pop("schema"), "no schema"),
        (lambda m: m.pop("attacks"), "attacks"),
        (lambda m: m["attacks"][0].update(norms="Linf"), "attacks.0.norms"),
        (lambda m: m.update(seed="0"), "seed"),
        (lambda m: m.update(run="../../etc"), "run"),
        (lambda m: m.update(clean_units=["../x"]), "clean_units.0"),
        (lambda m: m.update(run="another"), "has a different run"),
    ],
)
def test_damaged_manifests_are_named(run, change, words):
    path = run / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    rewrite(run, path, json.dumps(manifest).encode())
    with pytest.raises(StoreError, match=words):
        af.Results.load(run)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": NaN}', "[" * 100_000, '"' + "x" * 10])
def test_manifests_that_are_no_json(run, text, undisturbed):
    (run / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match="holds no art_flat results"):
        af.Results.load(run)
    same(again(run), undisturbed)  # it is written again


def test_the_manifest_is_strict_json_with_the_environment(run):
    def refuse(text):
        raise AssertionError(text)

    manifest = json.loads((run / "manifest.json").read_text(), parse_constant=refuse)
    assert manifest["schema"] == SCHEMA_VERSION
    assert manifest["packages"]["torch"]
    assert manifest["threads"] == 1
    assert manifest["n_units"] == 4


def test_another_environment_is_said(run):
    path = run / "manifest.json"
    manifest = json.loads(path.read_text())
    now = manifest["packages"]["torch"]
    manifest["packages"]["torch"] = "1.0"
    rewrite(run, path, json.dumps(manifest).encode())
    with pytest.warns(EnvironmentWarning, match=f"torch 1.0 then, {now} now"):
        again(run)
    earlier = json.loads(path.read_text())["earlier_environments"]
    assert [e["packages"]["torch"] for e in earlier] == ["1.0"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match="No space left on device; make room; finished work is kept"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_two_writers_of_one_folder_do_not_disturb_each_other(tmp_path, undisturbed):
    """Both write the same unit, measured in other times, and each goes on with what the other has finished."""
    stores = [Store(tmp_path / "run", "r") for _ in range(2)]
    frame = undisturbed.adversarial
    problems = []

    def write(store):
        try:
            store.begin({"seed": 0})
            for i in range(30):
                store.write_unit(
                    "adversarial", "unit", frame.assign(seconds=float(i + 100 * (store is stores[0])))
                )
                assert len(store.read_unit("adversarial", "unit")) == len(frame)
        except Exception as error:
            problems.append(error)

    writers = [threading.Thread(target=write, args=(store,)) for store in stores]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not problems
    assert [p.name for p in (tmp_path / "run" / "adversarial").iterdir()] == ["unit.parquet"]


def test_lipschitz_constants_are_derived_once(run, tmp_path, undisturbed):
    for folder, is_new in ((tmp_path / "new", True), (run, False)):
        notes = []
        same(again(folder, progress=lambda state, notes=notes: notes.append(state.note)), undisturbed)
        assert any("Lipschitz constant" in note for note in notes) is is_new


def test_options_that_decide_nothing_may_change(run, undisturbed):
    same(again(run, epsilons=[0.5], time_limit=100), undisturbed)
    with pytest.raises(StoreError, match="threads: 1 there, 2 now"):
        again(run, threads=2)
