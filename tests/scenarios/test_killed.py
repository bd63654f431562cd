"""kill -9 at random moments, then the same command again: the records of an uninterrupted run."""

import os
import random
import signal
import time

import pytest
from run_cases import same, small_run

import art_flat as af

pytestmark = pytest.mark.slow
KILLS = 50


def run(folder):
    attacks = ["art_flat:PGD(steps=20)", "art_flat:APGD(steps=10)", "torchattacks:PGD(steps=10)"]
    return small_run(attacks=attacks, shard_size=2, out=folder, save_adversarial=True)


def test_killed_fifty_times(tmp_path):
    began = time.monotonic()
    undisturbed = af.evaluate(**run(None))
    whole = time.monotonic() - began
    moments, folder, finished = random.Random(0), tmp_path / "run", []
    for _ in range(KILLS):
        child = os.fork()
        if child == 0:
            af.evaluate(**run(folder))
            os._exit(0)
        time.sleep(moments.uniform(0, whole / 8))
        os.kill(child, signal.SIGKILL)
        ended = os.waitpid(child, 0)[1]
        finished.append((len(list((folder / "adversarial").glob("*.parquet"))), os.WIFSIGNALED(ended)))
    assert sum(killed for _, killed in finished) > KILLS / 2
    results = af.evaluate(**run(folder))
    same(results, undisturbed)
    keys = ["model", "sample", "attack", "norm", "delta", "seed", "source_model"]
    assert not results.adversarial.duplicated(keys).any()
    assert results.missing_units == 0
    assert not list(folder.glob("damaged/*"))
    assert results.adversarial_points(results.adversarial).shape == (len(results.adversarial), 6)
    print(f"{KILLS} kills, units there after each: {[n for n, _ in finished]}")
