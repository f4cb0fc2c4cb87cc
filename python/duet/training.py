"""Trains encoders and uses them: the program duet, called from Python.

Training runs in a process of its own, so that Ctrl-C, a full disk or a crash cost a run nothing that its checkpoints
hold; what it wrote is read back from the run folder.
"""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._library import DuetError
from .retrieval import Nearest, top_k

__all__ = ["Run", "load", "program_path", "train"]

_USAGE = 2  # exit status: a file, a flag or a key is refused
_SPLITS = ("train", "test", "val")


def program_path() -> Path:
    """The program: what the variable DUET_PROGRAM names, else the one that lies in the package."""
    named = os.environ.get("DUET_PROGRAM")
    return Path(named) if named else Path(__file__).parent / "bin" / "duet"


def _call(arguments: Sequence[str], progress: bool = False) -> str:
    """Runs the program; its standard output. Its error line becomes the exception's text."""
    errors: list[str] = []
    output: list[str] = []
    with subprocess.Popen([str(program_path()), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        reader = threading.Thread(target=lambda stream: output.append(stream.read()), args=(process.stdout,))
        reader.start()  # so that neither pipe fills up while the other is read
        try:
            for line in process.stderr:
                errors.append(line)
                if progress:
                    sys.stderr.write(line)
            process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # a terminal has sent it already; it saves what it has
            process.wait()
            raise
        finally:
            reader.join()
    if process.returncode:
        text = "".join(errors[-2:]).strip() or f"{arguments[0]}: exit status {process.returncode}"
        raise (ValueError if process.returncode == _USAGE else DuetError)(text)
    return "".join(output)


def _write_arrays(folder: Path, data: Mapping[str, Any], name: str) -> None:
    """A folder of .npy files of arrays by split and name."""
    unknown = [split for split in data if split not in _SPLITS]
    if unknown:
        raise ValueError(f"{name}: expected splits {', '.join(_SPLITS)}, got {unknown[0]!r}")
    for split, arrays in data.items():
        (folder / split).mkdir(parents=True)
        for array, values in arrays.items():
            try:
                values = np.asarray(values)
            except (TypeError, ValueError, RuntimeError) as error:
                raise TypeError(f"{name}: {split}: {array}: expected an array ({error})") from None
            if values.dtype.hasobject:
                raise TypeError(f"{name}: {split}: {array}: expected numbers or names, got Python objects")
            np.save(folder / split / f"{array}.npy", np.ascontiguousarray(values), allow_pickle=False)


class Run:
    """A trained model in its folder.

    path: the folder. modalities: their two names. config: the configuration that it was trained with.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self.config: dict[str, Any] = json.loads((self.path / "config.json").read_text())
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.path}: {error}; expected the folder of a run") from None
        self.modalities: tuple[str, ...] = tuple(self.config["modalities"])

    def embed(self, array: Any, modality: str, *, best: bool = False) -> np.ndarray[Any, Any]:
        """Embeddings (n x d, unit rows, float32) of features (n x the modality's width), scaled as in training.

        best: by the best model of validation in place of the last one.
        """
        if modality not in self.modalities:
            raise ValueError(f"modality: expected one of {', '.join(self.modalities)}, got {modality!r}")
        with tempfile.TemporaryDirectory(prefix="duet-") as folder:
            data, out = Path(folder, "data"), Path(folder, "out")
            _write_arrays(data, {"test": {modality: array}}, "array")
            _call(["embed", "--run", str(self.path), "--data", str(data), "--out", str(out),
                   *(["--best"] if best else [])])
            embeddings: np.ndarray[Any, Any] = np.load(out / f"{modality}.npy", allow_pickle=False)
        return embeddings

    def search(self, query: Any, gallery: Any, *, source: str, target: str, top: int = 10) -> Nearest:
        """For each row of query (features of the modality source) the nearest rows of gallery (of target)."""
        return top_k(self.embed(query, source), self.embed(gallery, target), top)

    def __repr__(self) -> str:
        return f"<duet.Run {self.path} ({', '.join(self.modalities)})>"


def load(run: str | os.PathLike[str]) -> Run:
    """The model of a run folder. Raises ValueError, naming the file, where there is none."""
    return Run(run)


def train(run: str | os.PathLike[str], data: str | os.PathLike[str] | Mapping[str, Mapping[str, Any]] | None = None, *,
          progress: bool = True, device: str = "cpu", **config: Any) -> Run:
    """Trains encoders and returns the run.

    run: a folder that is not there yet. data: a folder or file that the program reads; or arrays by split and name,
    {"train": {"audio": n x p, "visual": n x q, "labels": n}, "test": {...}}, which are written to the folder RUN.data,
    so that a run that was stopped can go on (`duet train --resume RUN`); None: the digits that the program holds.
    progress: the program's lines go to standard error.
    config: keys of the configuration, as docs/CONFIG.md lists them: method="psd", labels=0.1, epochs=40.
    Raises ValueError, naming key, file or array, where something is refused.
    """
    if isinstance(data, Mapping):
        kept = Path(run).with_name(Path(run).name + ".data")
        if kept.exists():
            raise ValueError(f"{kept}: it is there already; expected a free name for the arrays of the run")
        config["data"] = str(kept.absolute())
    elif data is not None:
        config["data"] = str(Path(data).absolute())
    with tempfile.TemporaryDirectory(prefix="duet-") as folder:
        file = Path(folder, "config.json")
        file.write_text(json.dumps(config))
        arguments = ["train", "--config", str(file), "--run", str(run), "--device", device]
        try:
            if isinstance(data, Mapping):
                _write_arrays(kept, data, "data")
            _call(arguments, progress)
        except (TypeError, ValueError):  # refused before anything was trained
            if isinstance(data, Mapping):
                shutil.rmtree(kept, ignore_errors=True)
            raise
    return load(run)
