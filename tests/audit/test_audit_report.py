"""Words and limits of the report on updates that are made up."""

import pytest
import torch

from torch_rnn.loop_audit.audit_report import checked, clipping, facts, is_counted, ranged, schedule, truncation
from torch_rnn.loop_audit.records import Check, Clip, Network, Update, Window

pytestmark = pytest.mark.needs_torch
CARRIED, ZEROS = "carried", "zeros"


def update(k1, k2, *, new=None, initial=CARRIED, windows=1, backward=1, **more):
    """One with as many windows of k2 steps, the last k1 of which have a loss."""
    window = Window(initial, "", 2, k2, k2, (k2, k2), 0, 1, False, "a.py:1")._replace(
        **{name: more.pop(name) for name in Window._fields if name in more}
    )
    new = k1 if new is None else new
    return Update("rnn", 1, "a.py:2", "SGD", (0.1,), (window,) * windows, new, k1, backward, True, ())._replace(**more)


def network(*updates, **origins):
    net = Network(1, torch.nn.RNN(2, 3), "rnn", "a.py:1")
    net.updates, net.was_reached, net.is_in_loss = list(updates), True, True
    net.origins.update({name.replace("_", " "): n for name, n in origins.items()})
    return net


def test_a_range_has_its_commonest_number_if_it_is_most():
    found = {values: ranged(values) for values in ((), (4, 4), (1, 2), (1, 1, 2, 2), (28, 20, 20, 4, 20), (3, 1, 3))}
    assert [*found.values()] == [
        "0",
        "4",
        "1 to 2",
        "1 to 2",
        "4 to 28, mostly 20 (3 of 5)",
        "1 to 3, mostly 3 (2 of 3)",
    ]


FIRST = update(5, 5, initial=ZEROS)


@pytest.mark.parametrize(
    ("updates", "expected"),
    [
        ([FIRST, update(5, 10), update(5, 15), update(5, 15)], (5, 15)),
        ([update(1, 2), update(1, 4), update(1, 6)], (1, 6)),  # a third of the updates, and no other pair has more
        ([update(1, 2), update(1, 4), update(1, 5), update(1, 6)], None),
        ([FIRST, update(5, 5), update(5, 5), update(5, 10)], None),  # a longer reach
        ([FIRST, update(5, 5), update(5, 5), update(6, 5)], None),  # more losses, from a carried state
        ([FIRST, update(5, 5), update(5, 5), update(6, 5, initial=ZEROS)], (5, 5)),
        ([update(20, 5), update(5, 5), update(5, 5)], (5, 5)),  # the first may have any number
        ([update(5, 5), update(5, 5, new=9)], None),  # half of them, and not most, at every new step
        ([update(5, 5), update(5, 5), update(5, 5, new=9)], (5, 5)),
        ([update(5, 5), update(5, 5, windows=2)], None),
        ([update(5, 5, initial=ZEROS)] * 3, None),  # no state is carried
        ([update(5, 5, initial=ZEROS, back=1)] * 3, (5, 5)),
        ([update(5, 5, attached=True)] * 3, None),
        ([], None),
    ],
)
def test_schedule_is_that_of_most_updates(updates, expected):
    assert schedule(network(*updates)) == expected


def test_windows_in_words():
    several, packed = update(5, 5, initial=ZEROS, windows=2), update(5, 8, initial=ZEROS, lengths=(3, 8))
    start = "each window starts from zeros: no state is carried; "
    joined = update(6, 6, initial="learned", steps=4, passes=2)
    for updates, words in (
        ([several], f"{start}full BPTT over windows of 5 steps; the gradients of 2 windows are added in an update"),
        ([packed, packed], f"{start}full BPTT over windows of 3 to 8 steps"),
        ([update(2, 3, initial=ZEROS, steps=9)], f"{start}the gradient reaches 3 steps"),
        ([joined, update(5, 5, initial="constant")], "each window starts from a state that the script sets or a learned"
         " state: no state is carried; full BPTT over windows of 5 to 6 steps"),
        ([update(5, 7, back=2)], "TBPTT(5, 7): windows of 7 steps, state carried and detached, through weights that"
         " have changed since"),
        ([update(5, 5, windows=3), FIRST], "chunks of 5 steps, state carried and detached; the gradients of 1 to 3"
         " windows are added in an update"),
        ([update(1, 5, new=2), update(2, 5), update(2, 5), update(3, 5)], "truncated BPTT, state carried and detached:"
         " 2 to 3, mostly 2 (3 of 4) new steps per update and 1 to 3 with a loss; the gradient reaches 5 steps"),
        ([update(5, 5, attached=True, back=1)],
         "the gradient of update 1 reaches 1 update back: the state is attached"),
    ):  # fmt: skip
        assert truncation(network(*updates)) == words
    assert truncation(network()) == "no truncation: gradients are computed, but no update is made"


def test_steps_are_counted_where_windows_follow_each_other():
    assert is_counted(network(FIRST, FIRST._replace(windows=FIRST.windows * 2)))
    assert not is_counted(network(update(5, 5, windows=2)))
    assert is_counted(network(update(5, 5), before=1, no_gradient=1))
    assert not is_counted(network(update(5, 5), before=1, no_gradient=2))


def test_states_in_words():
    net = network(FIRST, update(3, 5, new=5), update(3, 5, new=5), before=2, elsewhere=1)
    net.resets, net.counts[5, 2, True], net.counts[5, 2, False] = [(1, None), (3, None)], 3, 2
    assert [*facts(net)] == [
        "forward passes: 3 with a graph, steps x batch 5 x 2 of input (time, batch, feature), 2 without a graph",
        "truncated BPTT, state carried and detached: 5 new steps per update and 3 to 5, mostly 3 (2 of 3) with a loss;"
        " the gradient reaches 5 steps",
        "steps with a loss: 11 of 15 (3 to 5, mostly 3 (2 of 3) per update); 4 without",
        "the state comes from another place in the data in 1 of 3 windows or more",
        "the state is reset at update 1, 3", "3 updates by SGD, learning rate 0.1, backward passes per update: 1",
        "gradient: not checked", "step: not checked", "clipping: none seen",
    ]  # fmt: skip
    net.origins["before"] = 3  # less than a third
    net.resets = [(1, 7), (2, 7), (3, 7)]
    assert "the state comes from: the window before (3 of 4), another place in the data (1 of 4)" in [*facts(net)]
    assert "the state is reset in every update" in [*facts(net)]
    net.resets = [(1, 7), (3, 7)]
    assert "the state is reset at update 1, 3, where the data start again" in [*facts(net)]


def test_clips_and_checks_in_words():
    norm, script = Clip("norm", 0.5, "a.py:3", 6, 4, True), Clip("script", 9.0, "", 4, 4, True)
    clips = [norm, norm._replace(acts=False), script, script._replace(limit=8.0), norm._replace(kind="value", own=0)]
    updates = [update(5, 5, clips=(clip,), gradient=Check(1e-8)) for clip in clips]
    updates.append(update(5, 5, clips=(norm._replace(limit=7.0),)))
    assert clipping(updates) == (
        "clipping: by norm 0.5 (a.py:3), of 4 parameters of this module and 2 others; it acts in 1 of 2; by the script"
        " itself, before the step (2 of 5 updates looked at); by value 0.5 (a.py:3), of 0 parameters of this module and"
        " 6 others; it acts in 1 of 1"
    )
    right, wrong = Check(2e-8, name="W"), Check(0.125, False, name="V")
    more, without = Check(0.25, False, name="U"), Check(None, reason="a reason")
    assert checked("step", [without, without._replace(reason="another")]) == "step: not checked: a reason"
    assert checked("step", [right, without, right._replace(error=1e-8)]) == (
        "step: 2 replayed in float64, each agrees to 2e-08 of its size, as rounding explains"
    )
    assert (
        checked("step", [right, wrong, more]) == "step: 2 of 3 differ from a float64 replay, by 0.25 of the size of U"
    )
