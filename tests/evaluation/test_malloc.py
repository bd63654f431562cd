"""Workers keep what they free while a unit runs, and give it back afterwards."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
import torch
from art_flat.evaluation._malloc import freed_memory_kept

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

torch.set_num_threads(1)
before = resident()
with freed_memory_kept():
    for _ in range(3):
        torch.ones(2**24)
    known = faults()
    for _ in range(10):
        torch.ones(2**24)
    print(faults() - known, resident() - before)
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such settings")
def test_blocks_of_64_mb_are_used_again_and_given_back():
    said = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    new_pages, kept, left = map(float, said.split())
    assert new_pages < 1000  # a block has 16,384
    assert kept > 60
    assert left < 16
