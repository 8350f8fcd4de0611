"""Two implementations on one configuration: the command `compare`."""
