"""Workers keep what they free while a unit runs, and give it back afterwards."""

import platform
import subprocess
import sys

import pytest

from art_flat.evaluation import _malloc

SCRIPT = """
import resource
import runpy
import sys
import torch

freed_memory_kept = runpy.run_path(sys.argv[1])["freed_memory_kept"]

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

torch.set_num_threads(1)
before = resident()
with freed_memory_kept():
    for _ in range(20):  # an aligned block does not fit where one was, until there is a larger hole
        torch.ones(6 * 2**20)
    known = faults()
    for _ in range(10):
        torch.ones(6 * 2**20)
    print(faults() - known, resident() - before)
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such settings")
@pytest.mark.slow
def test_blocks_of_24_mb_are_used_again_and_given_back():
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT, _malloc.__file__], capture_output=True, text=True, check=True
    ).stdout
    new_pages, kept, left = map(float, said.split())
    assert new_pages < 1000  # a block has 6,144
    assert kept > 20
    assert left < 16
