"""The command `compare`: its implementations, runs, verdicts and plot."""
