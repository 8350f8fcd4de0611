"""What several tests need: ports, windows, runs and the command line in process."""
