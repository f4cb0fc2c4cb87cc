"""Where the tests of operators run: on the CPU, or where DUET_TEST_DEVICE says in PyTorch's words ("cuda")."""
import os

import pytest

import duet

DEVICE = os.environ.get("DUET_TEST_DEVICE", "cpu")


def _has_cpu():
    try:
        duet.Context("cpu").close()
    except duet.DuetError:
        return False
    return True


beside_cpu = pytest.mark.skipif(not _has_cpu(), reason="this build has no CPU backend")
host_alone = pytest.mark.skipif(DEVICE != "cpu", reason="of the host's memory")
