#!/bin/sh
# table.sh PLAN FOLDER OUTPUT LOG...: checks the PTX against the plan, and writes what each kernel takes of a
# multiprocessor.
set -eu
here=$(dirname "$0")
plan=$1 folder=$2 output=$3
shift 3
# Of a source whose code for some targets was made from another's PTX there is none here.
ptx=$(for log; do if [ -d "${log%.log}.files" ]; then find "${log%.log}.files" -name '*.ptx'; fi; done | sort)
# Every mangled name once, with what it stands for.
sed -n 's/^.*\.entry \([A-Za-z0-9_$]*\).*/\1/p' $ptx | sort -u >"$folder/mangled"
c++filt -p <"$folder/mangled" | paste "$folder/mangled" - >"$folder/names"
rm -f "$output"
LC_ALL=C awk -f "$here/table.awk" -v kernels="$folder/kernels.tsv" \
  "$here/targets.txt" "$plan" "$folder/names" $ptx "$@" >"$output.new"
mv "$output.new" "$output"
