#!/usr/bin/env bash
# check.sh KIND BUILD C_COMPILER NM: the library of a build folder as others get it. Every call from C is built outside
# of the tree and run, on the shared library and on the archive.
#   prefix      an installed prefix, moved, through find_package; what the libraries hold
#   pkg_config  an installed prefix, moved, through pkg-config
#   deb         the Debian packages: what they say of themselves, and a consumer of what they hold
# Where a program for it is missing: skipped (77), a failure under CI.
set -euo pipefail
kind=$1 build=$2 cc=$3 nm=$4
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../installed.sh"
sources=$work/consumer
mkdir "$sources"
cp "$here/CMakeLists.txt" "$here"/../c_api/{c_api_test.c,operations.c,operations.h} "$sources"

# by_cmake PREFIX: both consumers through find_package.
by_cmake() {
  quietly cmake -S "$sources" -B "$work/build" -G Ninja -DCMAKE_C_COMPILER="$cc" -DCMAKE_PREFIX_PATH="$1"
  quietly cmake --build "$work/build"
  "$work/build/with_kernels"
  "$work/build/with_kernels_static"
  needs "$work/build/with_kernels" libduet
  needs_not "$work/build/with_kernels_static" libduet
}

# by_pkg_config LIBRARIES: both consumers through the duet.pc below a folder of libraries.
by_pkg_config() {
  export PKG_CONFIG_PATH=$1/pkgconfig
  local version flags consumer=("$cc" -std=c99 "$sources/c_api_test.c" "$sources/operations.c")
  version=$(pkg-config --modversion duet)
  consumer+=("-DEXPECTED_VERSION=\"$version\"")
  # shellcheck disable=SC2046
  "${consumer[@]}" -o "$work/shared" $(pkg-config --cflags --libs duet) -lm
  LD_LIBRARY_PATH=$1 "$work/shared"
  flags=$(pkg-config --static --cflags --libs duet)
  # shellcheck disable=SC2086
  "${consumer[@]}" -o "$work/static" ${flags/-lduet/-l:libduet.a}
  "$work/static"
  needs "$work/shared" libduet
  needs_not "$work/static" libduet
}

# The C interface and nothing else, and no BLAS: the rival of the benchmark (bench/cpu/blas.cpp) is no part of it.
holds_the_interface() {
  local exported others
  exported=$("$nm" -D --defined-only "$1/libduet.so" | sed 's/.* //')
  others=$(grep -vx 'duet_[a-z0-9_]*' <<<"$exported" || true)
  [ -z "$others" ] || fail "exported beside the C interface: $others"
  [ "$(wc -l <<<"$exported")" -ge 40 ] || fail "the C interface has more than these calls: $exported"
  if "$nm" "$1/libduet.so" "$1/libduet.a" | grep -E 'sgemm|openblas'; then fail "the library contains OpenBLAS"; fi
}

# field PACKAGE FIELD VALUE: what a Debian package says of itself.
field() {
  local said
  said=$(dpkg-deb --field "$1" "$2")
  [[ $said == $3 ]] || fail "$1: $2: expected $3, got $said"
}

case $kind in
  prefix)
    install_prefix "$build"
    by_cmake "$work/prefix"
    holds_the_interface "$(libraries_of "$work/prefix")"
    ;;
  pkg_config)
    needed pkg-config
    install_prefix "$build"
    by_pkg_config "$(libraries_of "$work/prefix")"
    ;;
  deb)
    needed cpack dpkg-deb dpkg-shlibdeps file pkg-config
    version=$(sed -n 's/^Version: //p' "$build/kernels/duet.pc")
    quietly cpack --config "$build/CPackConfig.cmake" -B "$work/packages"
    shared=$(echo "$work"/packages/libduet[0-9]*.deb) development=$(echo "$work"/packages/libduet-dev_*.deb)
    name=$(dpkg-deb --field "$shared" Package)
    field "$shared" Version "$version"
    field "$shared" Depends '*libc6 (>= *libhwy1 (>= *libstdc++6 (>= *'
    field "$development" Version "$version"
    field "$development" Depends "$name (= $version)"
    content=$(dpkg-deb --fsys-tarfile "$shared" | tar -t)
    expected="./usr/lib/libduet.so.${name#libduet}
./usr/lib/libduet.so.$version
./usr/share/doc/$name/copyright"
    [ "$(grep -v '/$' <<<"$content" | sort)" = "$expected" ] || fail "$name holds $content"
    dpkg-deb -x "$shared" "$work/tree"
    dpkg-deb -x "$development" "$work/tree"
    by_cmake "$work/tree/usr"
    by_pkg_config "$work/tree/usr/lib"
    ;;
  *) fail "expected prefix, pkg_config or deb, got $kind" ;;
esac
