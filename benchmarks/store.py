"""What has been measured, in a folder, one file a piece: an interrupted run goes on from there.

A file is written beside its place and moved there when it is whole. At the end they become one file that pyperf reads.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.plan import Piece

PLAN = "plan.json"
VERDICTS = "verdicts"  # key of the file of a piece in round 0
BROKE = "broke"  # key of the file of a piece whose process failed
KEPT = ("loops", "round", "cpu_seconds_a_second")  # of every run
OF_BENCHMARK = ("name", "case", "thread_pools")
PRIVATE = ("hostname", "python_executable", "python_config_args", "boot_time", "command", "uptime")  # of one machine


class OtherPlan(Exception):
    """The folder holds pieces of another run."""


class Store(NamedTuple):
    folder: Path  # absolute, as workers run elsewhere

    def file(self, piece: Piece) -> Path:
        """Named by round, row, threads and, since many jobs have long names, a digest of all that it is to do."""
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

    def compiled(self) -> Path:
        """Where workers keep what they compile, for the next round: it is their folder for temporary files."""
        folder = self.folder / "compiled"
        folder.mkdir(exist_ok=True)
        return folder

    def clear(self) -> None:
        """All at once, as a run must not go on from what is left by an end that was broken off."""
        removed = self.folder.with_name(self.folder.name + "-removed")
        shutil.rmtree(removed, ignore_errors=True)
        os.replace(self.folder, removed)
        shutil.rmtree(removed)


def open_store(folder: Path, plan: dict) -> Store:
    """The store of a run. Raises OtherPlan if the folder holds a run with another plan: options, versions, commit."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / PLAN
    if not file.exists():
        write_json(file, plan)
    there = json.loads(file.read_text())
    if other := [name for name in {**there, **plan} if there.get(name) != plan.get(name)]:
        name = other[0]
        before, now = there.get(name), plan.get(name)
        raise OtherPlan(f"it holds a run that was begun with {name} = {before}, and now it is {now}")
    return Store(folder)


def merged(contents: Iterable[dict]) -> dict:
    """One pyperf suite of many, in pyperf's format 1.0: every benchmark once, with the runs of all rounds.

    Of the metadata, what is the same for all stands once, of the rest KEPT stands with every run and OF_BENCHMARK with
    every benchmark; what would name the machine is left out.
    """
    runs: dict[str, list[dict]] = {}
    own: dict[str, dict] = {}
    common: dict[str, set] = {}
    version = "1.0"
    for suite in contents:
        version = suite["version"]
        for benchmark in suite["benchmarks"]:
            for run in benchmark["runs"]:
                metadata = suite.get("metadata", {}) | benchmark.get("metadata", {}) | run.get("metadata", {})
                name = metadata["name"]
                runs.setdefault(name, []).append({"values": run["values"], "metadata": _only(metadata, KEPT)})
                own[name] = _only(metadata, OF_BENCHMARK)
                for key in metadata.keys() - {*KEPT, *OF_BENCHMARK, *PRIVATE, "date", "duration"}:
                    common.setdefault(key, set()).add(metadata[key])
    same = {key: values.pop() for key, values in common.items() if len(values) == 1} | {"unit": "second"}
    benchmarks = [{"metadata": own[name], "runs": found} for name, found in sorted(runs.items())]
    return {"benchmarks": benchmarks, "metadata": same, "version": version}


def _only(metadata, names):
    return {name: metadata[name] for name in names if name in metadata}


def write_json(path: Path, content: Any, indent: int | None = 1) -> None:
    write_text(path, json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)
