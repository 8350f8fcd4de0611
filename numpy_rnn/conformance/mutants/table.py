"""The known mistakes, all of them."""

from numpy_rnn.conformance.mutants import in_engine, in_step, in_training, in_window
from numpy_rnn.conformance.mutants.mistake import Mutant

__all__ = ["ENGINE_MUTANTS", "MUTANTS", "Mutant"]

MUTANTS: tuple[Mutant, ...] = (*in_window.MISTAKES, *in_step.MISTAKES, *in_training.MISTAKES)
ENGINE_MUTANTS: tuple[Mutant, ...] = in_engine.MISTAKES
