"""What the commands share: options, data, the updates of a run, and its files."""
