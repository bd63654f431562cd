"""joblib carries a run to a Dask or Ray cluster; a worker that is killed changes nothing."""

import threading
import time

import joblib
import pytest
from run_cases import attack, same, slowly, small_run

import art_flat as af

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
ATTACKS = ["art_flat:PGD(steps=3)", "torchattacks:PGD(steps=2)", attack(slowly)]


@pytest.fixture(scope="module")
def undisturbed():
    return af.evaluate(**small_run(attacks=ATTACKS, shard_size=3))


def kill_when(folder, n, find):
    """Kill a process, once, when `n` units are there."""
    done = []

    def watch():
        for _ in range(3000):
            if len(list((folder / "adversarial").glob("*.parquet"))) >= n:
                victim = find()
                done.append(victim.pid)
                victim.kill()
                return
            time.sleep(0.1)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread, done


def test_dask(tmp_path, undisturbed):
    distributed = pytest.importorskip("distributed")
    import psutil

    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as client:
        pids = list(client.run(lambda: __import__("os").getpid()).values())
        assert len(pids) == 2
        thread, killed = kill_when(tmp_path / "run", 5, lambda: psutil.Process(pids[0]))
        with joblib.parallel_config(backend="dask"):
            results = af.evaluate(**small_run(attacks=ATTACKS, shard_size=3), out=tmp_path / "run")
        thread.join()
    assert killed == pids[:1]
    same(results, undisturbed)
    assert results.missing_units == 0


@pytest.fixture
def ray():
    """A Ray instance of two cores on this machine that does work."""
    ray = pytest.importorskip("ray")
    from ray.util.joblib import register_ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        try:
            ray.get(ray.remote(lambda: None).remote(), timeout=180)
        except ray.exceptions.GetTimeoutError:
            pytest.skip("Ray does not run anything on this machine")
        register_ray()
        yield
    finally:
        ray.shutdown()


def an_actor():
    """A process in which Ray works for joblib."""
    import psutil

    processes = psutil.process_iter(["cmdline"])
    return next(p for p in processes if "ray::PoolActor" in " ".join(p.info["cmdline"] or []))


def test_ray(ray, tmp_path, undisturbed):
    thread, killed = kill_when(tmp_path / "run", 5, an_actor)
    with joblib.parallel_config(backend="ray", n_jobs=2):
        results = af.evaluate(**small_run(attacks=ATTACKS, shard_size=3), out=tmp_path / "run")
    thread.join()
    assert killed
    same(results, undisturbed)
    assert results.missing_units == 0
