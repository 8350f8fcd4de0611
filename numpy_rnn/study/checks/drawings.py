"""The figures of the checks."""

from numpy_rnn.study.checks.words import scientific
from numpy_rnn.study.figures import differences, v_curve
from numpy_rnn.study.records import Drawing, Findings


def _caption_of_differences(findings: Findings) -> str:
    return (
        "Every equation beside every witness that can speak about it. A difference below 1, at the left of the line, is"
        " rounding: no arithmetic in float64 is held to be better. Two rounded values may be 2 apart. The crosses are"
        " central differences, whose own error is orders larger; all other marks would be out there too if a formula"
        " were wrong."
    )


def _alternative_of_differences(findings: Findings) -> str:
    found = [one for one in findings["checks"]["largest"] if one["bounds"] is not None]
    largest = "; ".join(f"{one['witness']} {scientific(one['bounds'])}" for one in found)
    return (
        "A row for each equation, a mark for each witness. The largest differences of all rows, in units of the derived"
        f" bound: {largest}."
    )


def _caption_of_v_curve(findings: Findings) -> str:
    curve = findings["checks"]["v_curve"]
    if curve is None:
        return "Every derivative by the recurrent weights is zero here, so that no relative error can be drawn."
    predicted = curve["predicted_step"]
    where = "" if predicted is None else f" The two lines cross near h = {scientific(predicted)}."
    return (
        f"The error of one derivative, against {curve['against']}. The central difference follows h² down, meets the"
        " rounding of L and follows 1/h up again: at best it is right to"
        f" {scientific(curve['best_error'])}.{where} The complex step falls with h² too and then stays: for all of the"
        f" far smaller steps its error is at most {scientific(curve['complex_error'])}."
    )


def _alternative_of_v_curve(findings: Findings) -> str:
    curve = findings["checks"]["v_curve"]
    if curve is None:
        return "An empty panel: every derivative by the recurrent weights is zero."
    return (
        "Relative error over step, both logarithmic. The central difference draws a V with its lowest point at"
        f" {scientific(curve['best_step'])}; the complex step falls and then runs level, down to steps of"
        f" {scientific(min(curve['smaller_steps']))}."
    )


DRAWINGS = (
    Drawing("differences", (7.4, 7.6), differences.draw, _caption_of_differences, _alternative_of_differences),
    Drawing("v_curve", (7.4, 3.9), v_curve.draw, _caption_of_v_curve, _alternative_of_v_curve),
)
