"""Mistakes that people make, as mutants of the definition, and the hints that are made
of them.

A mutant is the definition with other equations. Its name is the hint. Here is the way
from a mistake to its hint, where the flow back uses W_hh without its transpose:

>>> import numpy as np
>>> from numpy_rnn.common.records import Objective, Parameters
>>> from numpy_rnn.conformance.case import WindowCase
>>> from numpy_rnn.conformance.definition import window_update
>>> from numpy_rnn.conformance.mutants.edits import FLOW, Mutant, with_operands
>>> from numpy_rnn.conformance.mutants.fits import Fit
>>> from numpy_rnn.conformance.mutants.hints import explanation, words_of

First the mistake. `edits` has functions that change the operands, or the result, of
equations. This change gets the operands of an equation, and returns others. FLOW has
the equations through which the flow passes back, those of dh_t and dh_0:

>>> def transposed(n, w, p, *step):
...     return n, w, p._replace(W_hh=p.W_hh.mT), *step
>>> equations = with_operands(transposed, *FLOW)
>>> mutant = Mutant("W_hh without its transpose", equations)

Then a port that has it: here the report of the mutant on one window, T = 4, B = 2.

>>> random = np.random.default_rng(0)
>>> shapes = (3, 5), (5, 5), (5, 2), (5,), (2,)
>>> params = Parameters(*(random.normal(size=shape) for shape in shapes))
>>> x, target = random.normal(size=(4, 2, 3)), random.normal(size=(4, 2, 2))
>>> case = WindowCase(params, x, target, None, Objective(), None)
>>> report = window_update(case, definition=mutant.definition)

A fit compares the report with the right values. The mutant explains it if it gives all
of the wrong numbers, and its name is then the hint:

>>> fit = Fit(case, report)
>>> sorted(fit.wrong & {"loss", "dh", "dW_hh", "dW_hy"})
['dW_hh', 'dh']
>>> words_of(mutant, [fit])
'W_hh without its transpose'

`explanation` tries all of the mutants so. The catalogue, MUTANTS, has this one already:

>>> explanation([fit])
'W_hh used without its transpose'

A new mistake is a row of WINDOW_MUTANTS or of STEP_MUTANTS. The suite's tests then
plant it in a port; STAGES of test_hints.py has the first tensors that it changes.
"""
