"""What the inner loop of each CUDA kernel issues, counted in its machine code: loads, stores, mma, fused multiply-adds,
special functions.

The loop is the largest of the innermost ones (a loop without another in it), found in the kernel's control flow; a
kernel without a loop is counted whole. Counts are instructions of one warp, for one run through the loop. Reads the
objects of `./dev gate`; the disassembler comes from PyPI's triton."""
import argparse
import importlib.util
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRECISIONS = ("tf32x3", "fp32", "tf32", "bf16")

# Column by what an instruction's name begins with; the first that fits counts.
COLUMNS = {
    "barriers": ("BAR", "WARPSYNC", "LDGDEPBAR", "DEPBAR", "SYNCS", "WARPGROUP"),
    "mma": ("HMMA", "HGMMA", "QGMMA", "DMMA"),
    "FMA": ("FFMA", "HFMA2"),
    "float": ("FADD", "FMUL", "FSETP", "FSEL", "FMNMX", "FSET", "FCHK", "FSWZADD"),
    "exp2": ("MUFU.EX2",),
    "MUFU": ("MUFU",),
    "double": ("DFMA", "DADD", "DMUL", "DSETP", "F2F.F64"),
    "async": ("LDGSTS", "UBLKCP", "UTMALDG"),
    "global loads": ("LDG", "LD.E"),
    "global stores": ("STG", "ST.E", "RED", "ATOMG"),
    "shared loads": ("LDSM", "LDS"),
    "shared stores": ("STSM", "STS", "ATOMS"),
    "local": ("LDL", "STL"),
    "shuffles": ("SHFL", "VOTE", "REDUX", "MATCH"),
}


def disassembler():
    found = importlib.util.find_spec("triton")
    path = Path(found.origin).parent / "backends" / "nvidia" / "bin" / "cuobjdump" if found else None
    if path is None or not path.exists():
        raise SystemExit("instructions: no cuobjdump: the triton package is not installed")
    return str(path)


def functions(text):
    """(mangled name, [(address, instruction)]) of each kernel."""
    for piece in re.split(r"^\s*Function : ", text, flags=re.M)[1:]:
        name = piece.split(None, 1)[0]
        code = [
            (int(address, 16), instruction.strip())
            for address, instruction in re.findall(r"^\s*/\*([0-9a-f]{4,})\*/\s+(.+?);", piece, re.M)
        ]
        yield name, code


def opcode(instruction):
    words = [word for word in instruction.split() if not word.startswith("@")]
    return words[0] if words else ""


def successors(code):
    """Indices of the instructions that may run next, by index."""
    index = {address: k for k, (address, _) in enumerate(code)}
    out = []
    for k, (_, instruction) in enumerate(code):
        name = opcode(instruction)
        conditional = instruction.startswith("@") or re.search(r"\bU?P\d\b", instruction) is not None
        following = [k + 1] if k + 1 < len(code) else []
        if name.startswith("BRA"):
            target = re.search(r"0x([0-9a-f]+)\s*$", instruction)
            jump = [index[int(target[1], 16)]] if target and int(target[1], 16) in index else []
            out.append(jump + (following if conditional else []))
        elif name.startswith(("EXIT", "RET", "BRX", "JMX", "KILL")):
            out.append(following if instruction.startswith("@") else [])
        else:
            out.append(following)
    return out


def components(nodes, edges):
    """Strongly connected components of more than one node (Tarjan, without recursion)."""
    order, low, on_stack, stack, out = {}, {}, set(), [], []
    for start in sorted(nodes):
        if start in order:
            continue
        work = [(start, iter(edges[start]))]
        order[start] = low[start] = len(order)
        stack.append(start), on_stack.add(start)
        while work:
            node, following = work[-1]
            step = next((n for n in following if n in nodes and (n not in order or n in on_stack)), None)
            if step is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == order[node]:
                    component = set()
                    while node not in component:
                        component.add(stack.pop())
                    on_stack -= component
                    if len(component) > 1:
                        out.append(component)
            elif step not in order:
                order[step] = low[step] = len(order)
                stack.append(step), on_stack.add(step)
                work.append((step, iter(edges[step])))
            else:
                low[node] = min(low[node], order[step])
    return out


def inner_loop(code):
    """The instructions of the largest innermost loop; None where there is none."""
    edges = successors(code)
    best, waiting = None, components(set(range(len(code))), edges)
    while waiting:
        loop = waiting.pop()
        entries = {n for k in range(len(code)) if k not in loop for n in edges[k] if n in loop} or {min(loop)}
        inside = components(loop - entries, edges)
        if inside:
            waiting += inside
        elif best is None or len(loop) > len(best):
            best = loop
    return None if best is None else [code[k] for k in sorted(best)]


def short(name):
    """As the gate's table has it."""
    name = re.sub(r"^void ", "", name)
    if not name.startswith("duet::"):
        return None
    name = name.replace("(anonymous namespace)::", "")
    name = re.sub(r"duet::(?:cuda::|detail::)*", "", name)
    name = re.sub(r"\(duet_precision\)(\d)", lambda found: PRECISIONS[int(found[1])], name)
    return re.sub(r"\([A-Za-z_: ]+\)", "", name).replace("> >", ">>")


def count(code):
    counts = Counter()
    for _, instruction in code:
        name = opcode(instruction)
        if name == "NOP":
            continue
        counts[next((column for column, starts in COLUMNS.items() if name.startswith(starts)), "other")] += 1
    return counts


def main():
    parser = argparse.ArgumentParser(
        prog="./dev instructions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kernel", default="", help="only kernels whose name holds this regular expression")
    parser.add_argument("--target", default="sm_90a", choices=("sm_80", "sm_86", "sm_90a"))
    parser.add_argument("--show", action="store_true", help="print the loop's instructions too")
    parser.add_argument("--objects", type=Path, default=ROOT / "build" / "release" / "cuda_gate")
    options = parser.parse_args()
    program = disassembler()
    objects = sorted(options.objects.glob("*.cu.fatbin"))
    if not objects:
        raise SystemExit(f"instructions: no objects in {options.objects}; ./dev gate makes them")
    columns = [*COLUMNS, "other"]
    print("| kernel | source | counted | instructions |", " | ".join(columns), "|")
    print("| --- | --- | --- | ---: |", " | ".join("---:" for _ in columns), "|")
    for file in objects:
        done = subprocess.run([program, "-arch", options.target, "-sass", file], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"instructions: {file.name}: {done.stderr.strip()}")
        found = dict(functions(done.stdout))
        names = subprocess.run(
            ["c++filt", "-p"], input="\n".join(found), capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for name, code in sorted(zip(map(str, map(short, names)), found.values()), key=lambda pair: pair[0]):
            if name == "None" or not re.search(options.kernel, name):
                continue
            loop = inner_loop(code)
            counts = count(loop or code)
            print(
                f"| {name} | {file.name.removesuffix('.fatbin')} | {'loop' if loop else 'whole'} | {counts.total()} |",
                " | ".join(str(counts[column] or "") for column in columns),
                "|",
            )
            if options.show:
                for address, instruction in loop or code:
                    print(f"      {address:05x}  {instruction}")


if __name__ == "__main__":
    sys.exit(main())
