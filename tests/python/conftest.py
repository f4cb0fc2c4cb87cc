"""Where the tests run: on the CPU, or on the device DUET_TEST_DEVICE names ("cuda" is the emulator in a test build)."""
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import duet

DEVICE = os.environ.get("DUET_TEST_DEVICE", "cpu")


def shared(*parts):
    """A file of the shared data; where it is absent the test is skipped, under CI it fails."""
    root = Path(os.environ.get("DUET_SHARED_DIR") or Path(__file__).resolve().parents[3] / "shared")
    path = root.joinpath(*parts)
    if not path.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"nothing at {path}, and under CI every test must run (set DUET_SHARED_DIR)")
        pytest.skip(f"nothing at {path} (set DUET_SHARED_DIR)")
    return path


def put(array):
    """An array where the tests run."""
    if array is None or DEVICE == "cpu":
        return array
    array = np.asarray(array)
    if array.dtype == np.int64:
        array = array.astype(np.int32)
    return duet.device_array(array, DEVICE)


def host(array):
    return array.numpy() if isinstance(array, duet.DeviceArray) else array


class Golden:
    """A golden case: its arrays as attributes, its numbers as facts."""

    def __init__(self, folder):
        self.folder, self.name = folder, folder.name
        self.facts = json.loads((folder / "case.json").read_text())

    def __getattr__(self, name):
        return np.load(self.folder / f"{name}.npy")

    def has(self, name):
        return (self.folder / f"{name}.npy").exists()


def golden_cases():
    root = Path(os.environ.get("DUET_SHARED_DIR") or Path(__file__).resolve().parents[3] / "shared")
    return [each.name for each in sorted((root / "reference/golden").glob("*")) if each.is_dir()] or ["absent"]


@pytest.fixture(params=golden_cases())
def golden(request):
    return Golden(shared("reference", "golden", request.param))


@pytest.fixture
def rng():
    return np.random.default_rng(20250108)
