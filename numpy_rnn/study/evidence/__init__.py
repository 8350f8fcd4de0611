"""The evidence of the study: verdicts on the equations, and the cost of truncations."""
