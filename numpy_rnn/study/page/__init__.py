"""The page of the study: one file that works without a network."""
