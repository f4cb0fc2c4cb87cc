#!/bin/sh
# headers.sh INCLUDE_FOLDER C_COMPILER CXX_COMPILER HEADER...: every public header compiles alone, as C99 and as C++11,
# without a warning and without padding in its structs.
set -eu
include=$1 c=$2 cxx=$3
shift 3
for header in "$@"; do
  for language in c cxx; do
    if [ $language = c ]; then compile="$c -x c -std=c99"; else compile="$cxx -x c++ -std=c++11"; fi
    echo "#include <duet/$header>" |
      $compile -I"$include" -Wall -Wextra -Wpedantic -Wpadded -Wcast-qual -Werror -fsyntax-only - || {
      echo "$header alone does not compile as $language" >&2
      exit 1
    }
  done
done
