"""Measurements in a folder, one file per piece, so that an interrupted run can continue.

A file is written under another name and renamed when it is complete. At the end the files become one that pyperf reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.plan import Piece

PLAN = "plan.json"
VERDICTS = "verdicts"  # key in the file of a piece of round 0
FINDINGS = "findings"  # key in results.json of everything but the times
CRASHED = "crashed"  # key in the file of a piece whose process failed
OF_RUN = ("loops", "round", "busy_cores")  # metadata of every run
OF_BENCHMARK = ("name", "case", "thread_pools")  # metadata of every benchmark
PRIVATE = ("hostname", "python_executable", "python_config_args", "boot_time", "command", "uptime")


class DifferentPlan(Exception):
    """The folder contains pieces of another run."""


class Store(NamedTuple):
    folder: Path  # absolute, as workers run in another folder

    def file(self, piece: Piece) -> Path:
        """Named by round, row, threads and a digest of the jobs, whose names are long."""
        jobs = [(job.task, job.case.to_text()) for job in piece.jobs]
        digest = hashlib.sha256(json.dumps(jobs).encode()).hexdigest()[:16]
        row = re.sub(r"\W+", "_", piece.row)
        return self.folder / f"{piece.round:03}-{row}-{piece.threads}-{digest}.json"

    def done(self, piece: Piece) -> bool:
        return self.file(piece).exists()

    def write(self, piece: Piece, content: Any) -> None:
        write_json(self.file(piece), content)

    def read(self, piece: Piece) -> Any:
        return json.loads(self.file(piece).read_text())

    def measured(self) -> list[dict[str, Any]]:
        """The contents of all timed pieces."""
        files = sorted(self.folder.glob("[0-9]*-*.json"))
        return [json.loads(file.read_text()) for file in files if not file.name.startswith("000-")]

    def discard(self, number: int, pieces: Iterable[Piece]) -> None:
        """Moves the pieces of a round away, so that they are measured again."""
        folder = self.folder / f"discarded-{len(self.discarded()):03}-{number}"
        folder.mkdir()
        for piece in pieces:
            os.replace(self.file(piece), folder / self.file(piece).name)

    def discarded(self) -> list[int]:
        """The rounds that were discarded."""
        return [int(folder.name.rsplit("-", 1)[1]) for folder in sorted(self.folder.glob("discarded-*"))]

    def cache(self) -> Path:
        """Where workers share what they compile and the bounds of the cases: their folder for temporary files."""
        folder = self.folder / "cache"
        folder.mkdir(exist_ok=True)
        return folder

    def clear(self) -> None:
        """Removes everything at once: a run must not continue from the rest of an interrupted removal."""
        removed = self.folder.with_name(self.folder.name + "-removed")
        shutil.rmtree(removed, ignore_errors=True)
        os.replace(self.folder, removed)
        shutil.rmtree(removed)


def open_store(folder: Path, plan: Mapping[str, Any]) -> Store:
    """The store of a run. Raises DifferentPlan if the folder contains a run with other options, versions or commit."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / PLAN
    if not file.exists():
        write_json(file, plan)
    stored = json.loads(file.read_text())
    for name in {**stored, **plan}:
        if stored.get(name) != plan.get(name):
            raise DifferentPlan(f"it contains a run with {name} = {stored.get(name)}, not {plan.get(name)}")
    return Store(folder)


def merged(contents: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One suite in pyperf's format 1.0: every benchmark once, with the runs of all rounds.

    Metadata that is equal everywhere is kept once; of the rest, OF_RUN is kept with every run and OF_BENCHMARK with
    every benchmark. What identifies the machine is removed.
    """
    runs: dict[str, list[dict]] = {}
    of_benchmark: dict[str, dict] = {}
    values: dict[str, set] = {}
    version = "1.0"
    for suite in contents:
        version = suite["version"]
        for benchmark in suite["benchmarks"]:
            for run in benchmark["runs"]:
                metadata = suite.get("metadata", {}) | benchmark.get("metadata", {}) | run.get("metadata", {})
                name = metadata["name"]
                runs.setdefault(name, []).append({"values": run["values"], "metadata": _only(metadata, OF_RUN)})
                of_benchmark[name] = _only(metadata, OF_BENCHMARK)
                for key in metadata.keys() - {*OF_RUN, *OF_BENCHMARK, *PRIVATE, "date", "duration"}:
                    values.setdefault(key, set()).add(metadata[key])
    equal = {key: found.pop() for key, found in values.items() if len(found) == 1} | {"unit": "second"}
    benchmarks = [{"metadata": of_benchmark[name], "runs": of_name} for name, of_name in sorted(runs.items())]
    return {"benchmarks": benchmarks, "metadata": equal, "version": version}


def _only(metadata, names):
    return {name: metadata[name] for name in names if name in metadata}


def write_json(path: Path, content: Any, indent: int | None = 1) -> None:
    write_text(path, json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes the whole file or nothing."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)
