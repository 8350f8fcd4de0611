"""The command `lesson`: the lesson that is installed, in a browser."""

import webbrowser
from pathlib import Path
from types import ModuleType

import numpy_rnn
from numpy_rnn.app.options import CommandOptions
from numpy_rnn.common.texts import printable

INSTALLED_PAGE = Path(numpy_rnn.__file__).parent / "study/lesson/lesson.html"


def run(rnn: ModuleType, options: CommandOptions) -> int:
    """Print the path of the lesson that is installed, and open it in a browser."""
    print(printable(str(INSTALLED_PAGE)), flush=True)
    if not webbrowser.open(INSTALLED_PAGE.as_uri()):
        print("no browser was found: open this file in one")
    return 0
