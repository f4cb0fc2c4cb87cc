"""An installed wheel: what it computes, how long it takes to import, that it draws in nothing that it need not."""
import statistics
import subprocess
import sys

import numpy as np

import duet

x = np.arange(6, dtype=np.float32).reshape(2, 3)
assert np.array_equal(duet.distance(x, x, "sqeuclidean"), [[0, 27], [27, 0]])
assert "torch" not in sys.modules

# Of the processor, which other programs do not lengthen as they do the clock's.
TIMED = "import time; import numpy; start = time.process_time(); import duet; print(time.process_time() - start)"
seconds = [float(subprocess.run([sys.executable, "-c", TIMED], check=True, capture_output=True, text=True).stdout)
           for _ in range(7)]
print(f"import duet: {1e3 * statistics.median(seconds):.1f} ms beyond import numpy (median of 7)")
assert statistics.median(seconds) <= 0.05
