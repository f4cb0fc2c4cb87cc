#!/bin/sh
# summary.sh write ROOT BUILD: puts the summary of the gate's table between the markers of
# bench/results/cuda_kernels_summary.md.
# summary.sh check ROOT: fails where the kernels of that summary are not those of the sources. Needs no compiler.
set -eu
what=$1 root=$2
name=bench/results/cuda_kernels_summary.md
summary=$root/$name
begin='<!-- cuda kernels: written by ./dev gate --readme -->'
end='<!-- end of cuda kernels -->'

case $what in
  write)
    # One row a kernel: over its instances, and target after target where they differ. An occupancy of "-" belongs to
    # an instance that is not launched on that target.
    LC_ALL=C awk -F '\t' '
      function span(low, high) { return low == high ? low : low " to " high }
      function over_targets(of,    k, differ, all) {
        all = of[1]
        for (k = 2; k <= targets; ++k) { all = all " / " of[k]; differ = differ || of[k] != of[1] }
        return differ ? all : of[1]
      }
      { name = $1; if (!(name in source)) { order[++count] = name; source[name] = $2 }
        if (index(source[name], $2) == 0) source[name] = source[name] ", " $2
        if (!($3 in at)) { at[$3] = ++targets }
        key = name SUBSEP at[$3]
        if (!(key in instances) || $4 < low[key]) low[key] = $4
        if (!(key in instances) || $4 > high[key]) high[key] = $4
        instances[key]++
        if ($9 != "-") {
          occupancy = $9 + 0
          if (!(key in least) || occupancy < least[key]) least[key] = occupancy
          if (!(key in most) || occupancy > most[key]) most[key] = occupancy
        }
        if ($6 != "-" && $5 + $6 > shared[key]) shared[key] = $5 + $6
        if (!(name in threads) || threads[name] < $7) threads[name] = $7
        if ($10 > 0) mma[name] = "mma" }
      END {
        print "| kernel | source | instances | threads | registers | shared, bytes | occupancy, % | tensor cores |"
        print "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |"
        for (i = 1; i <= count; ++i) {
          name = order[i]
          for (k = 1; k <= targets; ++k) {
            key = name SUBSEP k
            registers[k] = span(low[key], high[key]); bytes[k] = shared[key] + 0
            occupancies[k] = key in least ? span(least[key], most[key]) : "-"
          }
          printf "| %s | %s | %d | %s | %s | %s | %s | %s |\n", name, source[name], instances[name, 1], threads[name],
                 over_targets(registers), over_targets(bytes), over_targets(occupancies), mma[name] }
      }' "$3/cuda_gate/kernels.tsv" >"$3/cuda_gate/summary.md"
    awk -v begin="$begin" -v end="$end" -v table="$3/cuda_gate/summary.md" '
      $0 == begin { print; while ((getline line < table) > 0) print line; inside = 1; found = 1 }
      $0 == end { inside = 0 }
      !inside
      END { if (!found) exit 1 }' "$summary" >"$3/cuda_gate/summary_page.md"
    cp "$3/cuda_gate/summary_page.md" "$summary"
    ;;
  check)
    in_sources=$(mktemp) in_summary=$(mktemp)
    trap 'rm -f "$in_sources" "$in_summary"' EXIT
    # The emulator's headers define __global__ and hold no kernel. A kernel's name is what stands before the
    # parameters, on the line of __global__ or, where that is long, on the next.
    find "$root"/kernels -path "$root"/kernels/simt -prune -o -type f \( -name '*.cu' -o -name '*.h' \) -exec cat {} + |
      awk '
      /^[^\/#]*__global__/ { open = 1; text = "" }
      open { text = text " " $0 }
      open && /[A-Za-z0-9_]+\(.*/ {
        rest = text
        sub(/.*__global__/, "", rest); while (sub(/__launch_bounds__\([^()]*(\([^()]*\)[^()]*)*\)/, "", rest)) { }
        if (match(rest, /[A-Za-z0-9_]+\(/)) { print substr(rest, RSTART, RLENGTH - 1); open = 0 }
      }' | sort -u >"$in_sources"
    awk -v begin="$begin" -v end="$end" '
      $0 == end { inside = 0 }
      inside && /^\| [a-z]/ && $2 != "kernel" { print $2 }
      $0 == begin { inside = 1 }' "$summary" | sort -u >"$in_summary"
    if ! cmp -s "$in_sources" "$in_summary"; then
      echo "$name: its table of CUDA kernels is stale; ./dev gate --readme writes it."
      echo "Kernels that stand only in the sources (<) or only in the table (>):"
      diff "$in_sources" "$in_summary" | grep '^[<>]'
      exit 1
    fi
    ;;
esac
