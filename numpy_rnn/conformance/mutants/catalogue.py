"""The mutants: mistakes that people make, each as the definition with other equations.

The suite finds every one in a tensor of its equations.
"""

from numpy_rnn.conformance.mutants.step_mutants import LATE_STEP_MUTANTS, STEP_MUTANTS
from numpy_rnn.conformance.mutants.window_mutants import WINDOW_MUTANTS

MUTANTS = (*WINDOW_MUTANTS, *STEP_MUTANTS, *LATE_STEP_MUTANTS)
