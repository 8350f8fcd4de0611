"""(U1) to (U6) beside exact fractions and PyTorch's own optimizer."""

from typing import Any

from numpy_rnn.study.checks.descent import bounds, descents
from numpy_rnn.study.checks.equations import STEP
from numpy_rnn.study.checks.exact import exact
from numpy_rnn.study.checks.gathering import Check, compared, example, findings_of, said_by
from numpy_rnn.study.checks.optimizer import optimizer
from numpy_rnn.study.checks.problem import problems
from numpy_rnn.study.setting import Setting

WITNESSES = {"exact fractions": exact, "torch.optim": optimizer}


def of_steps(setting: Setting, absent: dict[str, str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(U1) to (U6) by two updates of each set of options, on the gradients at the start of training."""
    case = next(problems(setting)).case
    checks: dict[str, list[Check]] = {id: [] for id in STEP}
    examples, options = {}, {}
    for descent in descents(case, setting.configuration.sgd_options()):
        options[descent.name] = descent.case.sgd._asdict()
        E, where = bounds(descent), f"{descent.name}, update {descent.number}"
        said = said_by(WITNESSES, descent, absent)
        for id, equation in STEP.items():
            if equation.name in descent.hand:
                hand = descent.hand[equation.name]
                of_row = {name: values[equation.name] for name, values in said.items() if equation.name in values}
                checks[id] += compared(where, hand, E[equation.name], of_row)
                examples[id] = example(equation, hand, of_row)
    return findings_of(STEP, checks, examples), [{"name": name, **of_set} for name, of_set in options.items()]
