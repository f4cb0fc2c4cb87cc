"""Where the tests of operators run: on the CPU, or where DUET_TEST_DEVICE says in PyTorch's words ("cuda")."""
import os

import pytest

DEVICE = os.environ.get("DUET_TEST_DEVICE", "cpu")
host_alone = pytest.mark.skipif(DEVICE != "cpu", reason="of the host's memory")
