"""What a run was measured on: the processor, the kernels of every library, what forces them, and the load.

Libraries choose their kernels by the processor unless a variable forces others. `python -m benchmarks.machine LIBRARY`
prints the kernels of "numpy", "torch" or "jax" in a fresh process as JSON.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.claims import Claim
from benchmarks.plan import in_words
from benchmarks.system import ROOT, THREAD_VARIABLES, cores, worker_environment

LIBRARIES = ("numpy", "torch", "jax")
PACKAGES = ("numpy", "torch", "jax", "autograd", "pyperf", "threadpoolctl")
FORCING = (  # variables that force kernels, instruction sets or blocking
    *("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_BLOCK_FACTOR", "BLIS_ARCH_TYPE"),
    *("NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "ATEN_CPU_CAPABILITY"),
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_CPU_ISA_HINTS", "GLIBC_TUNABLES"),
)
FORCING_PREFIX = "MKL_"

SSE, AVX, AVX2, AVX512 = LEVELS = ("SSE", "AVX", "AVX2", "AVX-512")  # instruction sets, each with those before it
LEVEL_FLAGS = {AVX: {"avx"}, AVX2: {"avx2", "fma"}, AVX512: {"avx512f", "avx512bw", "avx512dq", "avx512vl"}}
KERNEL_LEVELS = {  # of OpenBLAS and BLIS, as threadpoolctl names them
    **dict.fromkeys(("skylakex", "cooperlake", "sapphirerapids", "skx", "zen4", "zen5"), AVX512),
    **dict.fromkeys(("haswell", "zen", "zen2", "zen3"), AVX2),
    **dict.fromkeys(("sandybridge", "bulldozer", "piledriver", "steamroller", "excavator"), AVX),
    **dict.fromkeys(("prescott", "core2", "penryn", "dunnington", "nehalem", "barcelona", "opteron", "atom"), SSE),
}
TORCH_LEVELS = {"AVX512": AVX512, "AVX2": AVX2, "DEFAULT": SSE}
CPUINFO, CPU_FOLDER = Path("/proc/cpuinfo"), Path("/sys/devices/system/cpu/cpu0")


class Kernel(NamedTuple):
    """What one library runs."""

    library: str
    version: str
    kernel: str  # in the library's own words
    level: str | None  # one of LEVELS; None if unknown
    threads: int | None = None  # of its pool
    features: Sequence[str] = ()  # SIMD features that it detected

    def in_words(self) -> str:
        kernel = f"{self.kernel} ({self.level})" if self.level else self.kernel
        return ", ".join(filter(None, [self.version, kernel, in_words(self.threads) if self.threads else ""]))


class Machine(NamedTuple):
    """Everything that a run was measured on. Nothing here identifies the machine itself."""

    processor: str
    cores: int
    level: str | None  # of LEVELS, of the processor
    flags: Sequence[str]
    caches: Mapping[str, str]
    governor: str
    system: str
    python: str
    packages: Mapping[str, str]
    commit: str
    kernels: Sequence[Kernel]
    forcing: Mapping[str, str]  # variables that force kernels, in the environment of the workers
    removed: Mapping[str, str] = {}  # those that --own-kernels removed from it

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Machine:
        """The inverse of `_asdict` after a way through JSON."""
        return cls(**{**values, "kernels": [Kernel(*kernel) for kernel in values["kernels"]]})

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each line in the table of the report."""
        return [
            ("CPU", f"{self.processor}, {self.cores} cores, {self.level or 'unknown instruction set'}"),
            ("Caches", ", ".join(f"{name} {size}" for name, size in self.caches.items()) or "unknown"),
            ("Frequency governor", self.governor),
            ("System", f"{self.system}, Python {self.python}"),
            ("Packages", ", ".join(f"{name} {number}" for name, number in self.packages.items())),
            *((kernel.library, kernel.in_words()) for kernel in self.kernels),
            ("Variables that force kernels", self.forced()),
            ("Commit", self.commit),
        ]

    def short(self) -> str:
        """One line for figures: what multiplies matrices, and whether that is forced."""
        blas = [f"{kernel.library}: {kernel.kernel}" for kernel in self.kernels if kernel.library.endswith("of NumPy")]
        return "; ".join([self.processor, *blas, *([f"forced by {self.forced()}"] if self.forcing else [])])

    def forced(self) -> str:
        given = ", ".join(f"{name}={value}" for name, value in self.forcing.items()) or "none"
        removed = ", ".join(f"{name}={value}" for name, value in self.removed.items())
        return f"{given}; removed by --own-kernels: {removed}" if removed else given


def forcing_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables in this environment that force kernels; those of threads, which the benchmark sets, do not."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if name in FORCING or (name.startswith(FORCING_PREFIX) and name not in THREAD_VARIABLES)
    }


def inspect(removed: Mapping[str, str] | None = None) -> Machine:
    """The machine as the workers see it."""
    flags = sorted(_cpuinfo("flags").split())
    kernels = [Kernel(*values) for library in LIBRARIES if find_spec(library) for values in _kernels_of(library)]
    return Machine(
        processor=_cpuinfo("model name") or platform.processor() or platform.machine(),
        cores=cores(),
        level=level_of(flags),
        flags=flags,
        caches=_caches(),
        governor=_read(CPU_FOLDER / "cpufreq/scaling_governor") or "not readable",
        system=platform.platform(),
        python=platform.python_version(),
        packages={name: _version(name) for name in PACKAGES},
        commit=_commit(),
        kernels=kernels,
        forcing=forcing_variables(os.environ),
        removed=removed or {},
    )


def level_of(flags: Iterable[str]) -> str | None:
    """The highest level whose flags are all there; None on a processor without SSE."""
    known = {*flags}
    lowest = SSE if "sse" in known else None
    return next((level for level in (AVX512, AVX2, AVX) if LEVEL_FLAGS[level] <= known), lowest)


def kernel_claims(machine: Machine) -> list[Claim]:
    """Open for each library that runs below what the processor can do."""
    if machine.level is None:
        return []
    try_this = "try --own-kernels" if machine.forcing else "no variable that is known forces this"
    below = [
        Claim(f"{kernel.library} runs {kernel.kernel} on a processor with {machine.level}; {try_this}", None)
        for kernel in machine.kernels
        if kernel.level is not None and LEVELS.index(kernel.level) < LEVELS.index(machine.level)
    ]
    return below or [Claim(f"every library that can be asked runs kernels for {machine.level}, as the processor", True)]


# -- libraries, each in a process of its own --------------------------------------------------------------------------


def _kernels_of(library):
    command = [sys.executable, "-m", "benchmarks.machine", library]
    ran = subprocess.run(command, cwd=ROOT, env=worker_environment(1), capture_output=True, text=True)
    return json.loads(ran.stdout) if ran.returncode == 0 else [Kernel(library, _version(library), "not readable", None)]


def numpy_kernels() -> list[Kernel]:
    import numpy as np

    core: Any = import_module("numpy._core._multiarray_umath")  # np.show_runtime prints these; no public name has them
    features = core.__cpu_features__
    used = [target for target in (*core.__cpu_baseline__, *core.__cpu_dispatch__) if features.get(target)]
    detected = [name for name, there in features.items() if there]
    levels = {"X86_V4": AVX512, "AVX512_SKX": AVX512, "X86_V3": AVX2, "AVX2": AVX2, "AVX": AVX, "SSE": SSE}
    level = next((level for name, level in levels.items() if features.get(name)), None)
    kernel = f"SIMD targets {', '.join(used)}" if used else "no SIMD"
    return [Kernel("NumPy", np.__version__, kernel, level, features=detected), *_pools("NumPy")]


def torch_kernels() -> list[Kernel]:
    import torch

    config = torch.__config__.show()
    blas = re.search(r"BLAS_INFO=(\w+)", config)
    patterns = {"MKL": r"Math Kernel Library Version ([\w.]+)", "oneDNN": r"MKL-DNN v([\w.]+)"}
    versions = [f"{label} {number}" for label, pattern in patterns.items() for number in re.findall(pattern, config)]
    capability = torch.backends.cpu.get_cpu_capability()
    kernel = f"CPU capability {capability}, BLAS {blas[1] if blas else 'unknown'}"
    text = ", ".join([kernel, *versions])
    level = TORCH_LEVELS.get(capability)
    return [Kernel("torch", torch.__version__, text, level, torch.get_num_threads()), *_pools("torch", {"openblas"})]


def jax_kernels() -> list[Kernel]:
    """XLA has no function for this, but an executable contains the features that it was compiled for."""
    import jax
    import jax.numpy as jnp

    executable: Any = jax.jit(lambda x: x @ x).lower(jnp.ones((8, 8))).compile().runtime_executable()
    features = sorted({name.decode() for name in re.findall(rb"\+([a-z0-9_.]+)", executable.serialize())})
    level = level_of([*features, *(["sse"] if any(name.startswith("sse") for name in features) else [])])
    kernel = f"compiles for {level}" if level else "target not readable"
    return [Kernel("XLA", f"jax {jax.__version__}", kernel, level, features=features)]


def _pools(library, without=frozenset()):
    """The thread pools of this process."""
    from threadpoolctl import threadpool_info

    kernels = []
    for pool in threadpool_info():
        name, architecture = pool["internal_api"], pool.get("architecture")
        if name in without:
            continue
        level = KERNEL_LEVELS.get((architecture or "").lower())
        kernel = f"{architecture} kernels" if architecture else ""
        label = {"openblas": "OpenBLAS", "openmp": "OpenMP", "mkl": "MKL", "blis": "BLIS"}.get(name, name)
        kernels.append(Kernel(f"{label} of {library}", pool["version"] or "", kernel, level, pool["num_threads"]))
    return kernels


# -- processor and commit ----------------------------------------------------------------------------------------------


def _cpuinfo(name):
    pattern = rf"^{name}\s*:\s*(.*)$"
    found = re.search(pattern, _read(CPUINFO), re.MULTILINE)
    return found[1].strip() if found else ""


def _caches():
    caches = {}
    for index in sorted((CPU_FOLDER / "cache").glob("index*")):
        level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
        caches[f"L{level}{ {'Data': 'd', 'Instruction': 'i'}.get(kind, '') }"] = size
    return caches


def _read(path):
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _commit():
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return commit + (" with changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    print(json.dumps({"numpy": numpy_kernels, "torch": torch_kernels, "jax": jax_kernels}[sys.argv[1]]()))
