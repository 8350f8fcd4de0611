"""The profile of numpy_rnn by line: by a clock that the tests advance."""

from itertools import chain, count

import pytest
from made_up_results import DEFAULT

from benchmarks import line_profile
from benchmarks.line_profile import Line, LineTimer, Profile, by_equation, equation_of, own_lines
from benchmarks.rows import Prepared


@pytest.mark.parametrize(
    ("line", "equations"),
    [
        ("dot(z, W, a)  # (F1)", "F1"),
        ("dot(z_T, da, dW)  # (B4), (B5), (B7)", "B4, B5, B7"),
        ("dot(dy, W_hy_T, dh)  # (B2), from the outputs", "B2"),
        ("f(B2)  # no id", ""),
    ],
)
def test_a_line_of_a_profile_belongs_to_the_equations_of_its_comment(line, equations):
    assert equation_of(line) == equations


def test_the_time_of_the_trace_function_is_subtracted(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("first  # (F2)\nsecond\n")
    timer = LineTimer(str(tmp_path))
    timer.seconds |= {(str(tmp_path / "a.py"), 1): 1.0, (str(tmp_path / "a.py"), 2): 4.0}
    timer.events |= {(str(tmp_path / "a.py"), 1): 4, (str(tmp_path / "a.py"), 2): 4}
    lines = own_lines(timer, 0.125, 2, tmp_path)
    assert lines == [Line("a.py", 2, "second", "", 1.75), Line("a.py", 1, "first  # (F2)", "F2", 0.25)]
    assert by_equation(Profile("a case", 1.0, lines)) == {"F2": 0.25, "no equation": 1.75}
    # Each look at this clock takes 1, and the loop without the trace function 5000: the rest is the trace's.
    ticks = chain((0, 5000), range(10**6, 2 * 10**6))
    monkeypatch.setattr(line_profile, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(line_profile.LineTimer.__init__, "__defaults__", (line_profile.perf_counter,))
    assert line_profile.seconds_per_event() == pytest.approx(1 - 5000 / (2 * line_profile.EMPTY_LINES), rel=1e-3)


def test_a_profile_has_the_time_of_each_line_per_point(tmp_path, monkeypatch):
    """Each look at the clock takes 1, so that a line takes 1 for each time that it runs."""
    (tmp_path / "a.py").write_text(
        "def f():\n    x = 1\n    for i in range(3):\n        x = x + i  # (F1)\n    return x\n"
    )
    space: dict = {}
    exec(compile((tmp_path / "a.py").read_text(), str(tmp_path / "a.py"), "exec"), space)
    ticks = count()
    monkeypatch.setattr(line_profile, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(line_profile.LineTimer.__init__, "__defaults__", (line_profile.perf_counter,))
    monkeypatch.setattr(line_profile, "seconds_per_event", lambda: 0.0)
    profile = line_profile.profile(DEFAULT, lambda case: Prepared(space["f"], dict), tmp_path)
    assert (profile.case, profile.seconds) == (DEFAULT.name, 1 / 100)
    runs = {line.number: round(line.seconds * 100) for line in profile.lines}  # of a call, which makes 100 points
    assert {n: runs[n] for n in (2, 3, 4)} == {2: 1, 3: 4, 4: 3}
    assert [line.equation for line in profile.lines if line.number == 4] == ["F1"]
