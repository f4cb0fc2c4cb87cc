#!/bin/sh
# results.sh KERNELS: the gate's kernels.tsv for every target as a table, a row an instance, a column a target.
set -eu
LC_ALL=C awk '
  FNR == NR {
    if (!/^sm_/) next
    targets[++target_count] = $1; size_of[$1] = $3
    if (!($3 in known)) { known[$3]; sizes[++size_count] = $3 }
    next
  }
  FNR == 1 { FS = "\t"; $0 = $0 }
  { key = $2 SUBSEP $11
    if (!(key in source)) { order[++count] = key; source[key] = $2; name[key] = $11; threads[key] = $7 }
    registers[key, $3] = $4; shared[key, size_of[$3]] = $6; spilled[key] += $12
    if ($5 > fixed[key]) fixed[key] = $5 }
  END {
    for (k = 1; k <= size_count; ++k)
      for (j = k; j > 1 && sizes[j] < sizes[j - 1]; --j) {
        size = sizes[j]; sizes[j] = sizes[j - 1]; sizes[j - 1] = size
      }
    printf "| source | kernel | threads |"
    for (k = 1; k <= target_count; ++k) printf " %s |", targets[k]
    printf " static |"
    for (k = 1; k <= size_count; ++k) printf " %d KiB |", sizes[k]
    printf " spilled |\n| --- | --- | ---: |"
    for (k = 1; k <= target_count + size_count + 2; ++k) printf " ---: |"
    printf "\n"
    for (i = 1; i <= count; ++i) {
      key = order[i]
      printf "| %s | %s | %s |", source[key], name[key], threads[key]
      for (k = 1; k <= target_count; ++k) printf " %s |", registers[key, targets[k]]
      printf " %d |", fixed[key]
      for (k = 1; k <= size_count; ++k) printf " %s |", shared[key, sizes[k]]
      printf " %d |\n", spilled[key]
    }
  }' "$(dirname "$0")/targets.txt" "$1"
