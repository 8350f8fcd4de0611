"""Which arithmetic is in force, by NumPy's and torch's own reports.

    arithmetic.py features               print the SIMD features that NumPy would use, to be disabled
    arithmetic.py check --plain          fail unless neither NumPy nor torch uses SIMD beyond its baseline
    arithmetic.py check --threads N      fail unless BLAS and torch have N threads

MKL does not report the mode that MKL_CBWR sets; only the variable is checked.
"""

import argparse
import os
import sys

import numpy as np
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__


def features():
    """The features that NumPy chooses code by, and that are in force."""
    return [name for name in __cpu_dispatch__ if __cpu_features__[name]]


def blas_threads():
    """The threads of every BLAS that is loaded."""
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    return [
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    ]


def main():
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("action", choices=["features", "check"])
    arguments.add_argument("--plain", action="store_true")
    arguments.add_argument("--threads", type=int)
    chosen = arguments.parse_args()
    if chosen.action == "features":
        print(*features(), sep=",")
        return None
    import torch

    faults = []
    if chosen.plain:
        if features():
            faults.append(f"NumPy uses {' '.join(features())}")
        if torch.backends.cpu.get_cpu_capability() != "DEFAULT":
            faults.append(f"torch uses {torch.backends.cpu.get_cpu_capability()}")
        if os.environ.get("MKL_CBWR") != "COMPATIBLE":
            faults.append("MKL_CBWR is not COMPATIBLE")
    if chosen.threads is not None:
        if torch.get_num_threads() != chosen.threads:
            faults.append(f"torch has {torch.get_num_threads()} threads")
        if not blas_threads() or set(blas_threads()) != {chosen.threads}:
            faults.append(f"BLAS has {blas_threads()} threads")
    return "; ".join(faults) or None


if __name__ == "__main__":
    sys.exit(main())
