"""Files: series, named arrays, traces."""
