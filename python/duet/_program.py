"""The command `duet` of an installed package: the program takes this process's place."""
import os
import sys


def main() -> None:
    from pathlib import Path

    program = str(Path(__file__).parent / "bin" / "duet")
    os.execv(program, [program, *sys.argv[1:]])
