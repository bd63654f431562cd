"""Faulty attacks and models: each is detected and recorded, the run continues, and no failure counts as robust."""

import functools
import os
import random
import subprocess
import threading

import numpy as np
import pytest
import torch
from run_cases import attack, forever, same, small_run, stubborn
from tolerances import close

import art_flat as af
from art_flat._utils.timeouts import TimeUpError, interruptible, time_limit
from art_flat.errors import StoreError

pytestmark = pytest.mark.slow

GOOD = "art_flat:PGD(steps=2)"
RADII = {"Linf": [0.1]}


def good_rows(results):
    rows = results.adversarial
    return rows[rows["attack"] == GOOD].drop(columns="seconds").reset_index(drop=True)


@functools.cache
def alone():
    """The rows of the good attack where there is no other."""
    return good_rows(af.evaluate(**small_run(attacks=[GOOD], deltas=RADII)))


def run(function, **options):
    """The rows of a bad attack, beside a good one that must not notice it."""
    arguments = small_run(attacks=[attack(function), GOOD], deltas=RADII, **options)
    results = af.evaluate(**arguments)
    assert good_rows(results).equals(alone())
    bad = results.adversarial[results.adversarial["attack"] != GOOD]
    assert len(bad) == 24
    summary = results.summary().set_index("attack")
    return bad, summary.loc[bad["attack"].iloc[0]]


def failed(function, words, **options):
    rows, summary = run(function, **options)
    assert set(rows["status"]) == {"failed"}
    assert rows["error"].str.contains(words).all(), rows["error"].iloc[0]
    assert rows["loss"].isna().all()
    assert summary["n_failed"] == 24
    assert np.isnan(summary["robust_accuracy"])


def test_raises():
    def explode(module, x, y):
        raise ZeroDivisionError("kaboom")

    failed(explode, "ZeroDivisionError: kaboom")


@pytest.mark.parametrize("function", [forever, stubborn])
def test_hangs(function):
    if function is stubborn:  # only ending its process helps, which workers do
        pytest.skip("swallows every exception; see test_workers")
    failed(function, r"did not end within 0.3 s \(time_limit\)", time_limit=0.3)


def test_swallows_exceptions():
    def swallows(module, x, y):
        import time

        while True:
            try:
                time.sleep(0.01)
            except Exception:
                continue

    failed(swallows, "did not end within", time_limit=0.3)


def test_returns_nan():
    def nan(module, x, y):
        points = 1 - x
        points[::2] = torch.nan
        return points

    rows, summary = run(nan)
    assert (rows["status"] == "failed").sum() == 12
    assert rows["error"].dropna().unique().tolist() == ["the attack returned NaN or infinite values"]
    assert summary["n_failed"] == 12
    assert summary["n_evaluated"] == 12


@pytest.mark.parametrize("wrong", [lambda x: x[:-1], lambda x: x[None], lambda x: None, lambda x: [1, 2]])
def test_returns_the_wrong_shape(wrong):
    failed(lambda_attack(wrong), "where points of shape")


def lambda_attack(function):
    def returns(module, x, y):
        return function(x)

    return returns


def test_leaves_the_ball():
    def far(module, x, y, delta, norm):
        return 1 - x

    arguments = small_run(attacks=[attack(far, budget="fixed")], deltas=RADII)
    rows = af.evaluate(**arguments).adversarial
    outside = rows["linf"] > 0.1
    assert outside.any()
    assert (rows["within_budget"] != outside).all()
    assert rows["notes"].str.contains(r"left the ball at \d points").any()
    summary = af.evaluate(**arguments).summary().iloc[0]
    assert summary["robust_accuracy"] == summary["accuracy"]  # what lies outside breaks nothing


def test_prints(capfd):
    def chatty(module, x, y):
        print("hello from python", flush=True)
        return 1 - x

    rows, _ = run(chatty)
    assert set(rows["notes"]) == {"hello from python"}
    assert capfd.readouterr() == ("", "")


def test_changes_the_mode():
    def trains(module, x, y):
        for part in network.modules():
            part.train()
        return 1 - x

    arguments = small_run(attacks=[attack(trains)], deltas=RADII)
    network = arguments["models"]["tiny"].estimator.model
    network.eval()
    rows = af.evaluate(**arguments).adversarial
    assert rows["notes"].str.contains(r"changed the model's mode \(restored\)").all()
    assert not any(m.training for m in network.modules())


@pytest.mark.parametrize("way", ["data", "in place", "replaced"])
def test_changes_the_weights(way):
    def ruins(module, x, y):
        layer = network[1]
        if way == "data":
            layer.weight.data += 1  # no version counter tells of this
        elif way == "in place":
            with torch.no_grad():
                layer.weight.mul_(2)
        else:
            layer.weight = torch.nn.Parameter(torch.zeros_like(layer.weight))
        return 1 - x

    arguments = small_run(attacks=[attack(ruins), GOOD], deltas=RADII)
    net = arguments["models"]["tiny"]
    network, weight, before = net.estimator.model, net.estimator.model[1].weight, net.identity()
    results = af.evaluate(**arguments)
    bad = results.adversarial[results.adversarial["attack"] != GOOD]
    assert set(bad["status"]) == {"failed"}
    assert bad["error"].str.contains("changed the model's weights while it ran").all()
    assert network[1].weight is weight
    assert net.identity() == before
    assert good_rows(results).equals(alone())


def test_draws_from_the_global_generators():
    def draws(module, x, y):
        random.random()
        np.random.rand()
        return x + 0.01 * torch.rand_like(x)

    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    rows, _ = run(draws)
    assert rows["notes"].str.contains("drew from the global random generators").all()
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])
    first = run(draws)[0]["loss"].to_numpy()
    assert (first == rows["loss"].to_numpy()).all()


def test_runs_out_of_memory():
    def hungry(module, x, y):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    failed(hungry, "memory ran out while 6 samples were attacked together; lower `shard_size`")


def test_memory_that_runs_out_while_scoring_halves_the_batch():
    undisturbed = af.evaluate(**small_run())
    arguments = small_run()
    net = arguments["models"]["tiny"]
    forward, sizes = net.forward, []

    def tight(x):
        sizes.append(len(x))
        if len(x) > 2:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 123 bytes")
        return forward(x)

    net.forward = tight
    same(af.evaluate(**arguments), undisturbed, **close("steps"))  # float32 sums of other lengths
    assert max(sizes) > 2
    assert sizes[-1] <= 2


def test_a_model_with_nan_logits():
    arguments = small_run()
    net = arguments["models"]["tiny"]
    forward = net.forward

    def fragile(x):
        out = forward(x)
        out.logits[x[:, 0] > 0.5] = torch.nan
        return out

    net.forward = fragile
    results = af.evaluate(**arguments)
    bad = arguments["x"][:, 0] > 0.5
    clean = results.clean.set_index("sample")
    assert (clean["pred"].to_numpy(int) == -1).tolist() == bad.tolist()
    assert clean["loss"].isna().to_numpy().tolist() == bad.tolist()
    row = results.summary().iloc[0]
    mine = results.adversarial[results.adversarial["attack"] == row["attack"]]
    mine = mine[mine["norm"] == row["norm"]]
    undefined = mine["loss"].isna() | bad[mine["sample"].to_numpy(int)]
    assert (row["n_evaluated"], row["n_failed"]) == (24, undefined.sum())
    assert row["robust_accuracy"] <= (24 - undefined.sum()) / 24
    assert (mine["status"] == "failed").tolist() == undefined.tolist()


# limits of time


def test_a_limit_in_another_thread():
    ended = []

    def work():
        try:
            with time_limit(0.2), interruptible():
                while True:
                    pass
        except TimeUpError:
            ended.append("in time")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert ended == ["in time"]


def test_a_limit_that_is_not_reached_leaves_nothing_behind():
    import signal
    import time

    before = signal.getsignal(signal.SIGALRM)
    with time_limit(0.2):
        with interruptible():
            pass
        time.sleep(0.4)
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_units_that_took_too_long_are_tried_again(tmp_path):
    arguments = small_run(attacks=[attack(forever)], deltas=RADII, shard_size=24, out=tmp_path / "run")
    first = af.evaluate(**arguments, time_limit=0.2)
    assert len(first.failures()) == 1
    again = af.evaluate(**arguments, time_limit=0.3)
    assert again.failures()["error"].tolist() == ["the attack did not end within 0.3 s (time_limit)"]


# the disk


@pytest.fixture
def small_disk(tmp_path):
    """A file system of half a mebibyte."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can only be mounted as root, where mounting is allowed")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_a_clear_error_and_loses_nothing(small_disk):
    arguments = small_run(out=small_disk / "run", shard_size=2)
    with pytest.raises(StoreError, match="No space left on device; make room; finished work is kept"):
        af.evaluate(**arguments)
    written = af.Results.load(small_disk / "run")  # every file that is there is whole
    assert 0 < len(written.adversarial) < 120
    assert written.missing_units > 0
    assert not list((small_disk / "run").rglob("*.part"))
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    same(af.evaluate(**arguments), af.evaluate(**small_run(shard_size=2)))
