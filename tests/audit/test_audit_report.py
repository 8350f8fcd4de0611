"""Words and limits of the report on updates that are made up."""

import pytest
import torch
from inline_snapshot import snapshot

from torch_rnn.loop_audit.audit_report import (
    Report,
    checked,
    clipping,
    facts,
    is_counted,
    ranged,
    schedule,
    truncation,
)
from torch_rnn.loop_audit.loop_warnings import MISTAKES, loop_warnings
from torch_rnn.loop_audit.records import Check, Clip, Network, Update, Window
from torch_rnn.loop_audit.watch import Watch

pytestmark = pytest.mark.needs_torch
CARRIED, ZEROS = "carried", "zeros"


def update(k1, k2, *, new=None, initial=CARRIED, windows=1, backward=1, **more):
    """One with as many windows of k2 steps, the last k1 of which have a loss."""
    window = Window(initial, "", 2, k2, k2, (k2, k2), 0, 1, False, "a.py:1")._replace(
        **{name: more.pop(name) for name in Window._fields if name in more}
    )
    new = k1 if new is None else new
    return Update(
        "rnn", 1, "a.py:2", "SGD", (0.1,), (window,) * windows, new, k1, backward, True, ()
    )._replace(**more)


def network(*updates, **origins):
    net = Network(1, torch.nn.RNN(2, 3), "rnn", "a.py:1")
    net.updates, net.was_reached, net.is_in_loss = list(updates), True, True
    net.origins.update({name.replace("_", " "): n for name, n in origins.items()})
    return net


def test_a_range_has_its_commonest_number_if_it_is_most():
    found = {
        values: ranged(values)
        for values in ((), (4, 4), (1, 2), (1, 1, 2, 2), (28, 20, 20, 4, 20), (3, 1, 3))
    }
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
        (
            [update(1, 2), update(1, 4), update(1, 6)],
            (1, 6),
        ),  # a third of the updates, and no other pair has more
        ([update(1, 2), update(1, 4), update(1, 5), update(1, 6)], None),
        ([FIRST, update(5, 5), update(5, 5), update(5, 10)], None),  # a longer reach
        (
            [FIRST, update(5, 5), update(5, 5), update(6, 5)],
            None,
        ),  # more losses, from a carried state
        ([FIRST, update(5, 5), update(5, 5), update(6, 5, initial=ZEROS)], (5, 5)),
        ([update(20, 5), update(5, 5), update(5, 5)], (5, 5)),  # the first may have any number
        (
            [update(5, 5), update(5, 5, new=9)],
            None,
        ),  # half of them, and not most, at every new step
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
    several, packed = (
        update(5, 5, initial=ZEROS, windows=2),
        update(5, 8, initial=ZEROS, lengths=(3, 8)),
    )
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
    assert (
        "the state comes from: the window before (3 of 4), another place in the data (1 of 4)"
        in [*facts(net)]
    )
    assert "the state is reset in every update" in [*facts(net)]
    net.resets = [(1, 7), (3, 7)]
    assert "the state is reset at update 1, 3, where the data start again" in [*facts(net)]


def test_clips_and_checks_in_words():
    norm, script = Clip("norm", 0.5, "a.py:3", 6, 4, True), Clip("script", 9.0, "", 4, 4, True)
    clips = [
        norm,
        norm._replace(acts=False),
        script,
        script._replace(limit=8.0),
        norm._replace(kind="value", own=0),
    ]
    updates = [update(5, 5, clips=(clip,), gradient=Check(1e-8)) for clip in clips]
    updates.append(update(5, 5, clips=(norm._replace(limit=7.0),)))
    assert clipping(updates) == (
        "clipping: by norm 0.5 (a.py:3), of 4 parameters of this module and 2 others; it acts in 1 of 2; by the script"
        " itself, before the step (2 of 5 updates looked at); by value 0.5 (a.py:3), of 0 parameters of this module and"
        " 6 others; it acts in 1 of 1"
    )
    right, wrong = Check(2e-8, name="W"), Check(0.125, False, name="V")
    more, without = Check(0.25, False, name="U"), Check(None, reason="a reason")
    assert (
        checked("step", [without, without._replace(reason="another")])
        == "step: not checked: a reason"
    )
    assert checked("step", [right, without, right._replace(error=1e-8)]) == (
        "step: 2 replayed in float64, each agrees to 2e-08 of its size, as rounding explains"
    )
    assert (
        checked("step", [right, wrong, more])
        == "step: 2 of 3 differ from a float64 replay, by 0.25 of the size of U"
    )


MODULES = torch.nn.RNN(2, 3), torch.nn.RNNCell(2, 3)  # the records have weak references


def made_watch(n=1, kind=None, times=3, also=(), cell=False, **changes):
    """A watch of `n` updates of one network with evidence of a kind, and with other attributes of its parts."""
    watch, net = Watch(1), Network(1, MODULES[cell], "rnn", "a.py:1")
    net.updates, net.was_reached, net.is_in_loss = (
        [update(5, 5, initial=ZEROS, backward=2)] * n,
        True,
        True,
    )
    watch.updates.networks, watch.updates.optimizers, watch.updates.backward_failed = (
        [net],
        {1},
        True,
    )
    for name, value in changes.items():
        if name in ("origins", "initials", "counts"):
            getattr(net, name).update(value)
        else:
            setattr(net if hasattr(net, name) else watch.updates, name, value)
    for each in (kind, *also):
        values = {"state attached": (), "last output": (True,)}.get(each, (1, 2, 3, 4))
        evidence = watch.updates if each in [*MISTAKES][OF_LOOPS:] else net
        if each:
            evidence.evidence[each] += [("a.py:1", *values)] * times
    return watch


OF_LOOPS = [*MISTAKES].index("softmax")  # and all after it
SEEN_ONCE = (
    "detach without effect", "state attached", "view", "state: epoch", "state: batch", "no gradient", "input changed",
    "gradient differs", "step differs", "graphs kept", "softmax", "shapes of the loss", "clipping without effect",
    "update not finite", "parameters outside the optimizer", "parameters never changed", "state: no gradient, eval",
)  # fmt: skip
SEEN_THRICE = ("data overwritten", "step without effect")


def kinds(watch):
    return [warning.kind for warning in loop_warnings(watch)]


@pytest.mark.parametrize(
    "kind", ["state: no gradient, eval", *sorted(MISTAKES.keys() - {"state: no gradient"})]
)
def test_evidence_is_a_warning_where_it_is_seen_often_enough(kind):
    """What may be meant, or happen by chance, twice, or three times; what is certainly wrong, once."""
    least = 1 if kind in SEEN_ONCE else 3 if kind in SEEN_THRICE else 2
    shown = kind.removesuffix(", eval")
    assert [kinds(made_watch(1, kind, times)) for times in (1, 2, 3)] == [
        [shown] * (n >= least) for n in (1, 2, 3)
    ]


CARRIED_BY = {"origins": {"before": 9}}
ATTACHED = [update(5, 5, attached=True, backward=2)]
ONE_STEP: dict = {"n": 2, "counts": {(1, 4, True): 3}, "initials": {ZEROS: 3}}


@pytest.mark.parametrize(
    ("changes", "warns", "contradicting"),
    [
        ({"kind": "gradient dropped"}, {}, {"optimizers": {1, 2}}),
        (
            {"kind": "state attached"},
            {"updates": ATTACHED, "backward_failed": False},
            {"backward_failed": False},
        ),
        ({"kind": "state attached"}, {}, {"also": ["detach without effect"]}),
        ({"kind": "attached in an update"}, {}, {"updates": ATTACHED}),
        ({"kind": "attached in an update"}, {}, {"updates": [update(5, 5)]}),
        ({"kind": "last output"}, {"n": 3}, {"n": 4}),
        ({"kind": "state not carried"}, {"initials": {ZEROS: 1}}, {"initials": {"computed": 1}}),
        ({"kind": "state: no gradient"}, {"origins": {"before": 9}}, {"origins": {"before": 8}}),
        ({"kind": "state: overlap"}, {"origins": {"before": 9}}, {"origins": {"before": 10}}),
        ({"kind": "state: overlap", "origins": {"before": 99}}, {"times": 14}, {"times": 13}),
        ({"kind": "state: elsewhere"}, {"origins": {"before": 9}}, {"origins": {"before": 10}}),
        ({"kind": "state: elsewhere"}, {"backward_failed": False}, {"also": ["state attached"]}),
        (
            {"kind": "state: epoch", "also": ["state: elsewhere"]},
            {"origins": {"before": 10}},
            CARRIED_BY,
        ),
        ({"kind": "target equals the input"}, {}, {"is_in_loss": False}),
        ({"kind": "target equals the input"}, {}, {"also": ["target differs"]}),
        ({"kind": "target equals the input", "cell": True}, {"times": 8}, {"times": 7}),
        ({"kind": "clipping of others"}, {"n": 3}, {"n": 4}),
        ({"kind": "losses overwritten"}, {"steps": 6}, {"steps": 7}),
        ({"kind": "clipping without effect"}, {}, {"updates": [update(5, 5, clips=("one",))]}),
        ({"was_reached": False}, {"n": 2}, {"n": 1}),
        ({"has_modes": True}, {"updates": [update(5, 5, is_training=False)] * 2}, {"n": 2}),
        (
            {"has_modes": True, "n": 2},
            {"updates": [update(5, 5, is_training=False)] * 2},
            {"has_modes": False},
        ),
        ({}, ONE_STEP, ONE_STEP | {"n": 1}),
        ({}, ONE_STEP, ONE_STEP | {"counts": {(1, 1, True): 3}}),
        ({}, ONE_STEP, ONE_STEP | {"counts": {(1, 4, True): 3, (2, 4, True): 1}}),
        ({}, ONE_STEP, ONE_STEP | {"counts": {(1, 4, True): 3, (1, 1, True): 1}}),
        ({}, ONE_STEP, ONE_STEP | {"initials": {ZEROS: 3, "constant": 1}}),
        ({}, ONE_STEP, ONE_STEP | {"cell": True}),
    ],
    ids=str,
)
def test_evidence_that_is_contradicted_is_no_warning(changes, warns, contradicting):
    (found,) = set(kinds(made_watch(**changes | warns))) - {*changes.get("also", ())}
    assert found == changes.get("kind", found)
    assert found not in kinds(made_watch(**changes | contradicting))


def test_report_of_two_modules():
    wrong = Check(0.12345, False, name="W"), Check(0.5, False, name="V")
    first, second = (
        made_watch(2, "view", updates=[update(5, 5, gradient=wrong[0], step=wrong[1])] * 2),
        made_watch(),
    )
    first.updates.networks += second.updates.networks
    for net, name in zip(first.updates.networks, ("encoder", "")):
        net.name, net.counts[5, 2, True] = name, 2
    first.updates.steps = 1
    assert str(Report(first)) == snapshot("""\
encoder: nn.RNN(2, 3), tanh, first called at a.py:1
  forward passes: 2 with a graph, steps x batch 5 x 2 of input (time, batch, feature)
  TBPTT(5, 5): chunks of 5 steps, state carried and detached
  the state is never reset as a whole
  2 updates by SGD, learning rate 0.1, backward passes per update: 1
  gradient: 2 of 2 differ from a float64 replay, by 0.12 of the size of W
  step: 2 of 2 differ from a float64 replay, by 0.5 of the size of V
  clipping: none seen
nn.RNN(2, 3), tanh, first called at a.py:1
  forward passes: 2 with a graph, steps x batch 5 x 2 of input (time, batch, feature)
  each window starts from zeros: no state is carried; full BPTT over windows of 5 steps
  1 update by SGD, learning rate 0.1, backward passes per update: 2
  gradient: not checked
  step: not checked
  clipping: none seen
audited: the first 1 updates
warning: a.py:1: encoder: the input, of shape 1, is viewed as 2, which mixes its rows: exchange axes
  by transpose(0, 1), not by view() or reshape()
warning: a.py:2: encoder: the gradient of update 1 differs from a float64 replay by 0.12 of its size
  in W: look for changes of weights, inputs or gradients in between
warning: a.py:2: encoder: update 1 differs from a float64 replay of SGD in V: look for code that
  changes the weights around step()\
""")
