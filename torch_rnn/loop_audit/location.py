"""Where in the script of the user a call is."""

import os
import re
import site
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import FrameType

import torch

FOLDERS = (
    Path(__file__).parent,
    *torch.__path__,
    *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")),
    site.getusersitepackages(),  # of pip install --user
)
LIBRARIES = tuple(f"{folder}{os.sep}" for folder in FOLDERS)
SCRIPT_PATHS: list[str] = []  # of an installed module that is run, which is no library


@cache
def _script_name(file: str) -> str:
    """Return the name of a file of the script, relative to the working folder; empty
    for a library.
    """
    is_library = file.startswith(LIBRARIES) and not file.startswith((*SCRIPT_PATHS,))
    if is_library or re.match("<(?!ipython|stdin|string)", file):
        return ""
    relative = os.path.relpath(file) if os.path.isabs(file) else file
    return file if relative.startswith("..") else relative


def current_location() -> str:
    """Return FILE:LINE of the innermost call in the script."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = _script_name(frame.f_code.co_filename)
        if name:
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"
