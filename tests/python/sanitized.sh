#!/usr/bin/env bash
# sanitized.sh BUILD COMPILER: the Python package of a build folder with AddressSanitizer and UBSan: its tests of
# arrays, calls, misuse, labels and golden cases on the CPU, every access of the library watched. Where the packages for
# it, or the sanitizer as a shared library, cannot be had: skipped (77), a failure under CI.
set -euo pipefail
build=$1 compiler=$2
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../virtual_environment.sh"
virtual_environment python "$here/requirements.txt" "$build"
for name in libclang_rt.asan-x86_64.so libclang_rt.asan.so libasan.so; do  # of clang in two layouts, of g++
  runtime=$("$compiler" -print-file-name=$name)
  if [ -f "$runtime" ]; then break; fi
done
if [ ! -f "$runtime" ]; then
  echo "skipped: $compiler has no AddressSanitizer as a shared library" >&2
  [ "${CI:-}" = true ] && exit 1
  exit 77
fi
# The interpreter is not linked with the sanitizer, so it is loaded first; libstdc++ too, whose exceptions it follows.
# Python keeps what it has allocated until it ends: no leaks are looked for. Its own small blocks come from malloc.
watched() {
  LD_PRELOAD="$runtime $("$compiler" -print-file-name=libstdc++.so.6)" PYTHONMALLOC=malloc \
    ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=1:allocator_may_return_null=1 \
    UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 PYTHONPATH=$build/python PYTHONDONTWRITEBYTECODE=1 \
    "$environment/bin/python" "$@"
}
# A read past the end of an array is seen.
past='import numpy as np
from duet._arrays import view_of
from duet._context import default_context
from duet.distances import _UNIT_ROWS
x, out = np.zeros((512, 8), np.float32), np.zeros((1024, 8), np.float32)
_UNIT_ROWS(default_context(), (view_of(x)._replace(layout=(1024, 8, 8, 0)), view_of(out)))'
if said=$(watched -c "$past" 2>&1) || ! grep -q 'AddressSanitizer: heap-buffer-overflow' <<<"$said"; then
  printf '%s\n' "$said" >&2
  echo "sanitized.sh: a read past the end of an array goes unseen" >&2
  exit 1
fi
cd "$here"
watched -m pytest -q -p no:cacheprovider arrays_test.py calls_test.py golden_test.py labels_test.py misuse_test.py
