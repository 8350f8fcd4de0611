"""The command `lesson`: the lesson that is installed, in a browser."""

import webbrowser
from types import ModuleType

from numpy_rnn.app.options import CommandOptions
from numpy_rnn.common.texts import printable
from numpy_rnn.study.folder import LESSON_PAGE


def run(rnn: ModuleType, options: CommandOptions) -> int:
    """Print the path of the lesson that is installed, and open it in a browser."""
    print(printable(str(LESSON_PAGE)), flush=True)
    if not webbrowser.open(LESSON_PAGE.as_uri()):
        print("no browser was found: open this file in one")
    return 0
