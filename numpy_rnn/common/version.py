"""The version of this project, and of what it runs on."""

import platform
from importlib import metadata

__version__ = "0.1.0"


def versions(name: str) -> str:
    """One line for `--version`: the package of this name, Python, NumPy, and torch where it is installed."""
    parts = [f"Python {platform.python_version()}"]
    for package, distribution in (("NumPy", "numpy"), ("torch", "torch")):
        try:
            parts.append(f"{package} {metadata.version(distribution)}")
        except metadata.PackageNotFoundError:
            continue
    return f"{name} {__version__} ({', '.join(parts)})"
