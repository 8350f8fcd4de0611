"""The mutants: the fault catalogue, the score board, and the hints which mutant a divergence looks like."""
