# Reads targets.txt, plan.txt, names (mangled, demangled), the PTX files and ptxas's logs; prints the table, or what is
# wrong and exits 1.

function wrong(what) { print "cuda gate: " what > "/dev/stderr"; failed = 1 }

# duet::cuda::(anonymous namespace)::tiles<(duet_precision)3, duet::Sum> is tiles<bf16, Sum>; "" for what is not ours.
function short(name) {
  sub(/^void /, "", name)
  if (name !~ /^duet::/) return ""
  gsub(/\(anonymous namespace\)::/, "", name)
  gsub(/duet::(cuda::|detail::)*/, "", name)
  gsub(/\(duet_precision\)0/, "tf32x3", name)
  gsub(/\(duet_precision\)1/, "fp32", name)
  gsub(/\(duet_precision\)2/, "tf32", name)
  gsub(/\(duet_precision\)3/, "bf16", name)
  gsub(/\((int|bool|long|unsigned int|[A-Za-z_:]+)\)/, "", name)
  gsub(/> >/, ">>", name); gsub(/> >/, ">>", name)
  return name
}
function base(name) { sub(/<.*/, "", name); return name }
# Under what the summary lists it: the kernels of pairs/driver_cuda.h by what they do with a tile, others by their name.
function row_of(name) {
  if (!sub(/_tiles<TileProduct<[^>]*>, /, "_tiles ", name)) return base(name)
  sub(/>$/, "", name)
  return name
}
# A name, or its beginning as far as into the template arguments; after * any part of them.
function fits(part, name) {
  if (substr(part, 1, 1) == "*") return index(name, substr(part, 2)) > 0
  return index(name, part) == 1 && base(part) == base(name)
}
function ceil_to(value, unit) { return int((value + unit - 1) / unit) * unit }
function least(a, b) { return a < b ? a : b }

# Blocks a multiprocessor holds at once: registers are given in pieces of 256 a warp to each of four quarters, shared
# memory in pieces of 128 bytes with 1 KiB of the system's own a block.
function blocks_of(target, threads, registers, shared,    warps, by_registers, by_shared) {
  warps = ceil_to(threads, 32) / 32
  by_registers = int(4 * int(16384 / ceil_to(32 * registers, 256)) / warps)
  by_shared = int(shared_of_multiprocessor[target] / ceil_to(shared + 1024, 128))
  return least(least(most_blocks[target], int(most_warps[target] / warps)), least(by_registers, by_shared))
}

FNR == 1 {
  kind = FILENAME ~ /\.ptx$/ ? "ptx" : FILENAME ~ /\.log$/ ? "log" : ""
  if (kind == "") kind = ++others == 1 ? "targets" : others == 2 ? "plan" : "names"
  source = FILENAME
  if (kind == "ptx") sub(/\.files\/[^\/]*$/, "", source); else sub(/\.log$/, "", source)
  sub(/.*\//, "", source)
}

kind == "targets" && /^sm_/ {
  shared_of_block[$1] = 1024 * $3; shared_of_multiprocessor[$1] = 1024 * $4; most_warps[$1] = $5; most_blocks[$1] = $6
  if (!(1024 * $3 in sizes)) { sizes[1024 * $3]; ++size_count }
}

kind == "plan" && $1 == "tensor" { name = $0; sub(/^tensor +/, "", name); sub(/ +$/, "", name); tensor[name] = 1 }
kind == "plan" && $1 == "shared" {
  name = $0
  sub(/^shared +/, "", name); sub(/ +[-0-9\/]+ *$/, "", name)
  stated_sizes = split($NF, each, "/")
  if (stated_sizes != 1 && stated_sizes != size_count)
    wrong("plan.txt:" FNR ": expected one number of bytes or " size_count ", got " $NF)
  for (target in shared_of_block) {
    smaller = 0
    for (size in sizes) smaller += size + 0 < shared_of_block[target]
    stated[name, target] = each[stated_sizes == 1 ? 1 : smaller + 1]
  }
  prefixes[name]
}
kind == "plan" && $1 == "spills" {
  name = $0
  sub(/^spills +/, "", name); sub(/ +sm_[0-9a-z]+ +[0-9]+ *$/, "", name)
  may_spill[name, $(NF - 1)] = $NF
  spilling[name]
}
kind == "plan" && NF && $1 !~ /^(#|tensor$|shared$|spills$)/ {
  wrong("plan.txt:" FNR ": expected tensor, shared or spills, got " $1)
}

kind == "names" { at = index($0, "\t"); names[substr($0, 1, at - 1)] = short(substr($0, at + 1)) }

kind == "ptx" && /\.entry / {
  mangled = $0
  sub(/^.*\.entry /, "", mangled); sub(/[^A-Za-z0-9_$].*/, "", mangled)
  key = names[mangled] == "" ? "" : source SUBSEP names[mangled]
}
kind == "ptx" && key != "" && /\.(maxntid|reqntid) / {
  numbers = $0
  sub(/^.*ntid /, "", numbers)
  split(numbers, extents, /, */)
  threads[key] = extents[1] * (extents[2] ? extents[2] : 1) * (extents[3] ? extents[3] : 1)
}
kind == "ptx" && key != "" && /duet_dynamic_shared_memory/ { dynamic[key] = 1 }
kind == "ptx" && key != "" && /(wg)?mma[._a-z:]*\.m[0-9]+n[0-9]+k[0-9]+/ {
  if (/\.bf16/) mma[key, "bf16"]++
  if (/\.tf32/) mma[key, "tf32"]++
  any_mma[key]++
}
kind == "ptx" && /^}/ { key = "" }

kind == "log" && /Compiling entry function/ { split($0, quoted, "'"); mangled = quoted[2]; target = quoted[4] }
kind == "log" && /bytes stack frame/ {
  match($0, /[0-9]+ bytes spill stores/); spilled = substr($0, RSTART) + 0
  match($0, /[0-9]+ bytes stack/); stack = substr($0, RSTART) + 0
}
kind == "log" && /Used [0-9]+ registers/ {
  if (names[mangled] == "") { foreign[source]++; next }
  key = source SUBSEP names[mangled] SUBSEP target
  order[++count] = key
  match($0, /Used [0-9]+/); registers[key] = substr($0, RSTART + 5, RLENGTH - 5) + 0
  if (match($0, /[0-9]+ bytes smem/)) fixed[key] = substr($0, RSTART) + 0
  spills[key] = spilled; stacks[key] = stack
  key = ""
}

END {
  print "| source | kernel | target | registers | static shared | dynamic shared | spilled | stack | threads " \
        "| blocks an SM | occupancy | mma |"
  print "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
  for (k = 1; k <= count; ++k) {
    key = order[k]
    split(key, part, SUBSEP)
    name = part[2]; target = part[3]; of = base(name)
    instance[name] = 1
    where = part[1] ": " name " for " target
    ptx = part[1] SUBSEP name

    precision = ""
    if (match(name, /[<, ](tf32x3|tf32|bf16|fp32)[,> ]/)) precision = substr(name, RSTART + 1, RLENGTH - 2)
    has = (mma[ptx, "bf16"] ? "bf16" : "") (mma[ptx, "tf32"] ? "tf32" : "")
    wants = precision == "tf32x3" ? "tf32" : precision
    tensors = 0
    for (part_of_name in tensor) if (fits(part_of_name, name)) tensors = holding[part_of_name] = 1
    if (tensors) {
      if (precision == "fp32" && any_mma[ptx]) wrong(where ": fp32, but its PTX holds mma")
      if (precision == "" && !any_mma[ptx]) wrong(where ": plan.txt says tensor cores, its PTX holds no mma")
      if (wants ~ /^(tf32|bf16)$/ && !mma[ptx, wants])
        wrong(where ": plan.txt says tensor cores, its PTX holds no mma of " wants)
    } else if (any_mma[ptx]) wrong(where ": holds mma; say \"tensor " of "\" in tests/gate/plan.txt")

    bytes = 0; longest = 0
    for (prefix in prefixes)
      if (length(prefix) > longest && fits(prefix, name)) {
        longest = length(prefix); bytes = stated[prefix, target]; used[prefix] = 1
      }
    if (dynamic[ptx] && !longest)
      wrong(where ": has dynamic shared memory; say \"shared " of " BYTES\" in tests/gate/plan.txt")
    if (!dynamic[ptx] && longest) wrong(where ": plan.txt states dynamic shared memory, it has none")
    if (spills[key] != may_spill[name, target] + 0)
      wrong(where ": spills " spills[key] " bytes, plan.txt says " may_spill[name, target] + 0)
    launched = bytes != "-"
    if (launched && fixed[key] + bytes > shared_of_block[target])
      wrong(where ": takes " fixed[key] + bytes " bytes of shared memory, a block may have " shared_of_block[target])
    blocks = occupied = "-"
    if (threads[ptx] && launched) {
      blocks = blocks_of(target, threads[ptx], registers[key], fixed[key] + bytes)
      occupied = sprintf("%.0f %%", 100 * blocks * ceil_to(threads[ptx], 32) / 32 / most_warps[target])
      if (blocks == 0)
        wrong(where ": fits no multiprocessor: " registers[key] " registers of " threads[ptx] " threads, " \
              fixed[key] + bytes " bytes of shared memory")
    }
    of_threads = threads[ptx] ? threads[ptx] : "-"
    printf "| %s | %s | %s | %d | %d | %s | %d | %d | %s | %s | %s | %s |\n", part[1], name, target, registers[key],
           fixed[key], bytes, spills[key], stacks[key], of_threads, blocks, occupied, has
    printf "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%d\t%s\t%d\n", row_of(name), part[1], target, registers[key],
           fixed[key], bytes, of_threads, blocks, occupied, any_mma[ptx], name, spills[key] > kernels
  }
  for (file in foreign) printf "\n%s: %d kernels of CUB's, outside the spill gate.\n", file, foreign[file]
  for (name in tensor) if (!(name in holding)) wrong("plan.txt: no kernel " name)
  for (prefix in prefixes) if (!(prefix in used)) wrong("plan.txt: no kernel " prefix)
  for (name in spilling) if (!(name in instance)) wrong("plan.txt: no kernel " name)
  if (failed) exit 1
}
