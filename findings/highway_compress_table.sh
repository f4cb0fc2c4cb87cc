#!/usr/bin/env bash
# Highway's Compress on AVX2: GCC 12 copies a table of 1 KiB to the stack for every vector of 8 floats that it
# compresses.
#
# Seen with libhwy-dev 1.0.3-3+deb12u1 and g++ 12.2.0-14+deb12u1, -O3 -march=skylake:
#   CompressBlendedStore in a loop   has in its loop  movl $1024, %edx; call memcpy  before the one load that uses the
#                                    table
#   time, same source and machine    8.3 ns a vector by g++, 1.1 ns by clang 14, which reads the table where it lies
# The table is `alignas(16) constexpr uint32_t packed_array[256]` inside a function. Without `static` it is an object of
# each call, and GCC makes it. The result is right, so no test shows it; a filter of a vector costs as much as sorting
# it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
command -v g++-12 >/dev/null || { echo "needs g++-12 (Debian 12)" >&2; exit 1; }
apt-get download -q libhwy-dev=1.0.3-3+deb12u1 >/dev/null 2>&1
dpkg -x libhwy-dev_*.deb .
cat >filter.cpp <<'CPP'
#include <hwy/highway.h>
namespace hn = hwy::HWY_NAMESPACE;
size_t filter(const float* from, float limit, float* to, size_t count) {
  const hn::ScalableTag<float> tag;
  size_t kept = 0;
  for (size_t i = 0; i < count; i += hn::Lanes(tag)) {
    const auto values = hn::LoadU(tag, from + i);
    kept += hn::CompressBlendedStore(values, hn::Gt(values, hn::Set(tag, limit)), tag, to + kept);
  }
  return kept;
}
CPP
g++-12 -std=c++17 -O3 -march=skylake -Iusr/include -S filter.cpp -o filter.s
echo "$(g++-12 --version | head -n 1); in filter(), whose loop compresses one vector a turn:"
grep -nE 'jb|call|\$1024' filter.s
copies=$(awk '/^\.L[0-9]+:/ { copy = 0 } /\$1024/ { copy = 1 } /call\tmemcpy/ && copy { found = 1 }
              /\tjb\t/ && found { print "yes"; exit }' filter.s)
[ "$copies" = yes ] || { echo "the table is no longer copied in the loop" >&2; exit 1; }
