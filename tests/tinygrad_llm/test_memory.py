"""Arrays that are made and freed again and again cost no page faults."""

import os
import subprocess
import sys

import pytest

COUNT = """
import resource
import numpy as np
import tinygrad_llm

def step():
    arrays = [np.empty(size, np.float32) for size in (1 << 18, 3 << 20, 1 << 23)]
    for array in arrays:
        array.fill(1)

for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 10)
"""


def faults_per_step(**environment):
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MALLOC_") and name not in ("GLIBC_TUNABLES", "LD_PRELOAD")
    }
    done = subprocess.run(
        [sys.executable, "-c", COUNT],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is meant")
def test_freed_memory_is_kept_unless_the_user_says_otherwise():
    from tinygrad_llm.memory import keep_freed

    if not keep_freed():
        pytest.skip("the C library has no mallopt, or the user has settings of their own")
    assert faults_per_step() < 20
    # The same without: which shows that the count above means something.
    assert faults_per_step(TINYGRAD_LLM_KEEP_MEMORY="0") > 20
    assert faults_per_step(MALLOC_MMAP_THRESHOLD_="65536") > 20
