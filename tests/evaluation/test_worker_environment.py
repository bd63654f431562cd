"""Workers keep memory that an attack frees for its next step, by variables that this process does not keep."""

import os
import platform
import resource

import pytest
import torch
from run_cases import attack, small_run

import art_flat as af
from art_flat.evaluation.worker_environment import worker_environment


def test_variables_are_set_for_the_block_and_those_of_the_user_are_kept(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "12345")
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    before = dict(os.environ)
    with worker_environment():
        assert os.environ["MALLOC_TRIM_THRESHOLD_"] == "12345"
        assert os.environ["MALLOC_MMAP_THRESHOLD_"] == str(32 * 2**20)
    assert dict(os.environ) == before


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such variables")
def test_blocks_of_24_mb_are_used_again_in_workers(tmp_path):
    def allocates(module, x, y):
        for _ in range(20):  # an aligned block does not fit where one was, until there is a larger hole
            torch.ones(6 * 2**20)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(6 * 2**20)
        new_pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        (tmp_path / "new_pages").write_text(str(new_pages))
        return x

    run = small_run(attacks=[attack(allocates)], deltas={"Linf": [0.1]}, shard_size=24)
    assert not af.evaluate(**run, n_jobs=2).failures().shape[0]
    assert int((tmp_path / "new_pages").read_text()) < 1000  # a block has 6,144
