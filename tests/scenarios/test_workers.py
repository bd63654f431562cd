"""Worker processes: the same records as one process, also after crashes."""

import os
import shutil
import threading
import time

import joblib
import pytest
import torch
from run_cases import attack, classifier, deadly, deaf, forever, same, slowly, small_run, stubborn

import art_flat as af
from art_flat.errors import InputError, StoreError, UnsupportedEstimatorError
from art_flat.evaluation.devices import first_free_gpu, lease_device
from art_flat.evaluation.executor import uses_workers
from art_flat.evaluation.shared_job import SharedJob, remove_stale

pytestmark = pytest.mark.slow

MIXED = ["art_flat:PGD(steps=3)", "torchattacks:PGD(steps=2)", "art:DeepFool(max_iter=3)", attack(slowly)]


@pytest.fixture(scope="module")
def undisturbed():
    return af.evaluate(**small_run(attacks=MIXED), save_adversarial=True)


def children():
    import psutil

    return psutil.Process().children(recursive=True)


def test_two_workers_give_the_records_of_one_process(tmp_path, undisturbed):
    arguments = small_run(attacks=MIXED, out=tmp_path / "run")
    seen = []
    results = af.evaluate(**arguments, n_jobs=2, save_adversarial=True, progress=seen.append)
    same(results, undisturbed)
    points = [r.adversarial_points(r.adversarial) for r in (results, undisturbed)]
    assert (points[0] == points[1]).all()
    done = [p.done for p in seen if not p.note]
    assert done == list(range(len(done)))
    assert seen[-1].done == seen[-1].total
    files = sorted((tmp_path / "run" / "adversarial").iterdir())
    for file in files[::2]:
        file.unlink()
    next((tmp_path / "run" / "clean").iterdir()).unlink()
    kept = {file: file.stat().st_mtime_ns for file in files[1::2]}
    same(af.evaluate(**arguments, n_jobs=2), undisturbed)
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert not list((tmp_path / "run").glob(".work*"))
    in_memory = af.evaluate(**small_run(attacks=MIXED), n_jobs=2, save_adversarial=True)
    assert in_memory.folder is None
    same(in_memory, undisturbed)
    assert (in_memory.adversarial_points(in_memory.adversarial) == points[1]).all()


def test_order_of_shards_and_units_does_not_matter(undisturbed, tmp_path):
    for part in ("2/2", None):
        results = af.evaluate(**small_run(attacks=MIXED, out=tmp_path / "run"), part=part)
    same(results, undisturbed)


def test_the_number_of_threads_is_that_of_the_folder(tmp_path):
    arguments = small_run(attacks=["art_flat:PGD(steps=1)"], out=tmp_path / "run")
    seen = []
    before = torch.get_num_threads()
    af.evaluate(**arguments, threads=2, progress=lambda _: seen.append(torch.get_num_threads()))
    assert set(seen) == {2}
    assert torch.get_num_threads() == before
    next((tmp_path / "run" / "adversarial").iterdir()).unlink()
    af.evaluate(**arguments, progress=lambda _: seen.append(torch.get_num_threads()))
    assert set(seen) == {2}
    assert af.Results.load(tmp_path / "run").facts["threads"] == 2


# what is refused


def test_threads_are_refused():
    with (
        joblib.parallel_config(backend="threading"),
        pytest.raises(InputError, match="threads cannot evaluate"),
    ):
        af.evaluate(**small_run(), n_jobs=2)


def test_forks_are_refused_once_cuda_is_live(monkeypatch):
    with joblib.parallel_config(backend="multiprocessing"):
        assert uses_workers(2)
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        with pytest.raises(InputError, match="CUDA does not survive a fork"):
            af.evaluate(**small_run(), n_jobs=2)


@pytest.mark.parametrize("n_jobs", [0, 1.5, "2", True])
def test_bad_n_jobs(n_jobs):
    with pytest.raises(InputError, match="`n_jobs` must be a whole number"):
        af.evaluate(**small_run(), n_jobs=n_jobs)


def test_workers_are_used_when_asked_for():
    assert not uses_workers(None)
    assert not uses_workers(1)
    assert uses_workers(2)
    with joblib.parallel_config(n_jobs=2):
        assert uses_workers(None)


def test_attack_objects_with_an_estimator_are_not_pickled(tmp_path, monkeypatch):
    from art.attacks.evasion import FastGradientMethod

    monkeypatch.setattr("art.config.ART_DATA_PATH", str(tmp_path / "art"))
    arguments = small_run(attacks=[FastGradientMethod(classifier())], deltas={"Linf": [0.1]})
    with pytest.raises(InputError, match=r"holds an ART estimator .PyTorchClassifier., which writes files"):
        af.evaluate(**arguments, n_jobs=2)
    assert not (tmp_path / "art").exists()


def test_models_that_cannot_be_made_again_are_refused():
    from art.estimators.classification import PyTorchClassifier

    class Mine(PyTorchClassifier):
        pass

    plain = classifier()
    mine = Mine(plain.model, torch.nn.CrossEntropyLoss(), (6,), 3, clip_values=(0, 1), device_type="cpu")
    with pytest.raises(UnsupportedEstimatorError, match="use n_jobs=1, or run from a configuration file"):
        af.evaluate(**small_run(models={"m": mine}), n_jobs=2)
    plain.model.lock = threading.Lock()
    with pytest.raises(UnsupportedEstimatorError, match="Sequential cannot be sent to workers: TypeError"):
        af.evaluate(**small_run(models={"m": plain}), n_jobs=2)


def test_a_model_that_comes_out_otherwise_is_refused(tmp_path):
    recipe = af.adapt(classifier()).recipe(tmp_path)
    object.__setattr__(recipe, "sha256", "0" * 64)
    with pytest.raises(StoreError, match="the model made in a worker has other weights"):
        recipe.build("cpu")


def test_recipes_are_small_and_complete(tmp_path):
    import pickle

    from art.estimators.classification import PyTorchClassifier

    with torch.random.fork_rng():
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(600, 1000), torch.nn.Linear(1000, 3))
    net[1].weight.requires_grad_(False)
    net[2].eval()
    plain = PyTorchClassifier(
        net,
        torch.nn.CrossEntropyLoss(),
        (600,),
        3,
        clip_values=(0, 255),
        preprocessing=(3.0, 2.0),
        device_type="cpu",
    )
    recipe = af.adapt(plain).recipe(tmp_path)
    assert len(pickle.dumps(recipe)) < 5000
    made = pickle.loads(pickle.dumps(recipe)).build("cpu")
    x = torch.rand(4, 600) * 255
    assert torch.equal(made.logits(x), af.adapt(plain).logits(x))
    assert [m.training for m in made.estimator.model.modules()] == [m.training for m in net.modules()]
    assert [p.requires_grad for p in made.estimator.model.parameters()] == [False, True, True, True]


def test_gpus_are_leased_evenly(tmp_path, monkeypatch):
    assert [first_free_gpu(tmp_path / "gpus", 2) for _ in range(5)] == [0, 1, 0, 1, 0]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert lease_device(tmp_path / "mine") == lease_device(tmp_path / "mine") == "cuda:0"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert lease_device(tmp_path / "none") == "cpu"


def test_work_folders_of_dead_processes_are_removed(tmp_path):
    import socket

    dead = tmp_path / f".work-{socket.gethostname()}-4194303-ab"
    alive = tmp_path / f".work-{socket.gethostname()}-{os.getpid()}-ab"
    elsewhere = tmp_path / ".work-other-1-ab"
    for folder in (dead, alive, elsewhere):
        (folder / "started").mkdir(parents=True)
    remove_stale(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted((alive.name, elsewhere.name))


# what is done about accidents


def test_killed_workers_cost_nothing_but_time(tmp_path, undisturbed):
    arguments = small_run(attacks=MIXED, out=tmp_path / "run")
    killed = []

    def kill(state):
        if state.done in (3, 9):
            victim = next(
                p for p in children() if "popen_loky" in " ".join(p.cmdline()) and p.status() != "zombie"
            )
            killed.append(victim.pid)
            victim.kill()

    same(af.evaluate(**arguments, n_jobs=2, progress=kill), undisturbed)
    assert len(set(killed)) == 2


def test_attacks_that_no_exception_stops_end_with_their_worker(tmp_path):
    bad = [attack(f) for f in (forever, stubborn, deaf, deadly)]
    arguments = small_run(attacks=[*bad, "art_flat:PGD(steps=3)"], deltas={"Linf": [0.1]}, shard_size=24)
    results = af.evaluate(**arguments, n_jobs=2, out=tmp_path / "run", time_limit=1)
    errors = results.failures().set_index("attack")["error"]
    assert "did not end within 1 s" in errors["own:forever"]
    for name in ("own:stubborn", "own:deaf"):
        assert "could not be stopped" in errors[name]
    assert "the worker process ended while it computed this" in errors["own:deadly"]
    good = results.adversarial[results.adversarial["attack"] == "art_flat:PGD(steps=3)"]
    assert set(good["status"]) <= {"ok", "fallback"}
    assert results.missing_units == 0


def test_a_worker_that_cannot_write_stops_the_run(tmp_path):
    def blocks_the_folder(module, x, y):
        shutil.rmtree(tmp_path / "run" / "adversarial", ignore_errors=True)
        (tmp_path / "run" / "adversarial").touch()  # where a folder should be
        return x

    own = attack(blocks_the_folder)
    arguments = small_run(attacks=[own], deltas={"Linf": [0.1]}, shard_size=24, out=tmp_path / "run")
    with (
        pytest.raises(StoreError, match=r"cannot write .*adversarial.*run the same command again"),
        joblib.parallel_config(backend="multiprocessing"),
    ):
        af.evaluate(**arguments, n_jobs=2)


def test_an_error_of_the_progress_callback_is_not_taken_for_a_crash():
    class OwnError(Exception):
        pass

    def fail(state):
        if state.done == state.total:
            raise OwnError

    arguments = small_run(attacks=["art_flat:GaussianNoise"], deltas={"Linf": [0.1]})
    with pytest.raises(OwnError), joblib.parallel_config(backend="multiprocessing"):
        af.evaluate(**arguments, n_jobs=2, progress=fail)


def test_marks_tell_interrupted_units_from_finished_ones(tmp_path):
    job = SharedJob(tmp_path, None, tmp_path, {}, None, False, ())
    job.marks.mkdir()
    for key in ("a", "b", "c"):
        job.mark(key, "")
    job.mark("b", "done")
    job.mark("c", "failed")
    assert job.take_marks("abcd") == (["a"], {"b": False, "c": True})
    assert job.take_marks("ad") == ([], {})


def test_nothing_waits_for_ever():
    started = time.monotonic()
    with pytest.raises(StoreError, match="workers end before they have computed anything"):
        _broken_run()
    assert time.monotonic() - started < 60


def _broken_run():
    class Broken(joblib.Parallel):
        def __call__(self, iterable):
            raise RuntimeError("no pool")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joblib, "Parallel", Broken)
        af.evaluate(**small_run(), n_jobs=2)
