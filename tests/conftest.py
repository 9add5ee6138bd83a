"""Settings of the whole suite: one BLAS thread a worker, seeds, property-test profiles."""

import os
import random
from pathlib import Path

if os.environ.get("PYTEST_XDIST_WORKER"):
    # Workers share the cores; BLAS threads on top of them would only wait for each other.
    # Must be set before NumPy is imported.
    # Numba keeps its threads: a race in a parallel kernel shows only with more than one.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# A busy machine must not make a property test fail: no deadlines. CI repeats the same examples,
# a developer's machine looks for new ones.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

# The whole suite is to leave the user's home alone and stay off the network.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - for code that still draws from the global generator


@pytest.fixture
def data_folder() -> Path:
    """The folder with the real data sets, or skip: it is not part of the project."""
    folder = os.environ.get("TINYGRAD_LLM_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TINYGRAD_LLM_DATA names no folder with the data sets")
    return Path(folder)
