"""The console script torch-rnn, which is also `python -m torch_rnn`."""

import sys

import torch_rnn
from numpy_rnn.app import command_line


def main(arguments: list[str] | None = None) -> int:
    """Run the command line of torch_rnn. Returns the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["audit"]:
        from torch_rnn.loop_audit import audit_command

        # Nothing of the command line may change how the script runs.
        return audit_command.audit_script(words[1:])
    return command_line.run_main(torch_rnn, arguments)


if __name__ == "__main__":
    sys.exit(main())
