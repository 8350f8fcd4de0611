"""The command line: the commands `train` and `compare`, and what all commands share."""
