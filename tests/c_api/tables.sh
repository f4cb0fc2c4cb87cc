#!/bin/sh
# What a program that is linked to the library depends on: the structs' sizes and fields, and the calls that the library
# exports.
#   tables.sh check|renew offsets.txt COMPILER INCLUDE_FOLDER     (of <duet/duet.h>)
#   tables.sh check|renew symbols.txt NM LIBRARY
# check compares the committed table beside this file with the build and exits 1 where they differ; renew writes it
# anew. An entry that changes or goes breaks programs that are linked already: then DUET_INTERFACE_VERSION in
# kernels/CMakeLists.txt moves on too.
set -eu
what=$1 table=$2 tool=$3 from=$4
committed=$(dirname "$0")/$table
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

offsets() {
  {
    echo '#include <stddef.h>'
    echo '#include <stdio.h>'
    echo '#include <duet/duet.h>'
    echo 'int main(void) {'
    echo '#include <duet/duet.h>' | "$tool" -std=c99 -I"$from" -E -P -x c - | tr '\n' ' ' |
      sed 's/typedef struct/\ntypedef struct/g; s/} *duet_[a-z0-9_]* *;/&\n/g' |
      sed -n 's/^typedef struct \(duet_[a-z0-9_]*\) {\(.*\)} *duet_.*/\1;\2/p' |
      awk -F';' '{
        printf "  printf(\"%s %%lu\\n\", (unsigned long)sizeof(%s));\n", $1, $1
        for (k = 2; k < NF; ++k) {
          count = split($k, names, ",")
          for (i = 1; i <= count; ++i) {
            field = names[i]
            sub(/\[.*/, "", field)
            sub(/ *$/, "", field)
            sub(/.*[ *]/, "", field)
            if (field != "") printf "  printf(\"  %s %%lu\\n\", (unsigned long)offsetof(%s, %s));\n", field, $1, field
          }
        }
      }'
    echo '  return 0;'
    echo '}'
  } >"$work/table.c"
  "$tool" -std=c99 -I"$from" -o "$work/table" "$work/table.c"
  "$work/table"
}
symbols() { "$tool" -D --defined-only "$from" | sed 's/.* //' | sort; }

case $table in
  offsets.txt) offsets >"$work/now" ;;
  symbols.txt) symbols >"$work/now" ;;
esac
if [ "$what" = renew ]; then
  cp "$work/now" "$committed"
elif ! diff -u "$committed" "$work/now"; then
  echo "tests/c_api/$table is not what this build has (first the table, then the build). Where the change is meant:" \
    "cmake --build <folder> --target duet_renew_c_api" >&2
  exit 1
fi
