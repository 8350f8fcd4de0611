"""Every equation beside its witnesses, on the numbers of a run."""

from typing import Any

from numpy_rnn.study.checks.of_steps import of_steps
from numpy_rnn.study.checks.of_truncation import of_truncation
from numpy_rnn.study.checks.of_window import of_window
from numpy_rnn.study.checks.problem import problems
from numpy_rnn.study.checks.stepping import MOST
from numpy_rnn.study.checks.truncation import truncations
from numpy_rnn.study.setting import Setting


def measure(setting: Setting) -> dict[str, Any]:
    """Of every equation: the largest difference from each witness, and one number as all of them have it.

    See `comparing.Difference` for the units. Where a witness is not installed, its reason stands under "absent".
    """
    absent: dict[str, str] = {}
    window, more = of_window(setting, absent)
    steps, options = of_steps(setting, absent)
    equations = window | of_truncation(setting) | steps
    witnesses = dict.fromkeys(check["witness"] for found in equations.values() for check in found["checks"])
    return {
        "witnesses": list(witnesses),
        "absent": [{"name": name, "reason": reason} for name, reason in absent.items()],
        "places": [problem.where for problem in problems(setting)],
        "equations": equations,
        "largest": [{"witness": name, **_largest(equations, name)} for name in witnesses],
        "most_elements": MOST,
        "options": options,
        "biases_added": setting.start.b_h is None,
        "truncations": [list(pair) for pair in truncations(setting)],
        **more,
    }


def _largest(equations, witness):
    found = [check for one in equations.values() for check in one["checks"] if check["witness"] == witness]
    return {
        unit: None if any(check[unit] is None for check in found) else max(check[unit] for check in found)
        for unit in ("ulps", "bounds")
    }
