"""What the author says of a loop: it is read, and compared part by part."""

import pytest
import torch
from torch import nn

import torch_rnn
from numpy_rnn.common.errors import InputError
from tests.helpers.audited_loops import RIGHT_LOOPS, audited, source
from torch_rnn.loop_audit.differences import differences
from torch_rnn.loop_audit.expectation import EXAMPLE, read_expectation

pytestmark = pytest.mark.needs_torch
CHUNKS = "TBPTT(10, 10), batch of 1, carried, zeros at each epoch, loss at all steps, "
CHUNKS += "mse mean, SGD, lr 0.1, clip norm 1"


def found(name, expected, old="", new=""):
    """Return the differences of a loop from what is expected, as lines."""
    with torch_rnn.audit() as report:
        exec(source(name, old, new), {})
    lines = differences(report.loop, read_expectation(expected))
    return [str(line) for line in lines]


@pytest.mark.parametrize("name", RIGHT_LOOPS)
def test_a_loop_is_as_its_own_line_describes_it(name):
    report = audited(name)
    assert differences(report.loop, read_expectation(report.description)) == []


def test_line_of_a_loop():
    assert audited("right_chunks").description == CHUNKS


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ("TBPTT(5, 10)", "truncation: TBPTT(5, 10) is expected, found 10 new steps"),
        ("TBPTT(10, 20)", "truncation: TBPTT(10, 20) is expected, found 10 new steps"),
        ("full BPTT", "truncation: full BPTT is expected, found TBPTT(10, 10)"),
        ("full BPTT over 20 steps", "found a window of 10 steps, first in update 1 ("),
        ("batch of 8", "batch: batch of 8 is expected, found a batch of 1"),
        ("carried through epochs", "found a state from zeros at the beginning of an"),
        (
            "zeros at each window",
            "found a state from the previous window, cut, first in",
        ),
        ("computed", "states: computed is expected, found a state from zeros"),
        ("loss at the last step", "found a loss at all steps"),
        ("mse sum", "loss: mse sum is expected, found mse mean, first in update 1"),
        ("nn.CrossEntropyLoss", "loss: cross_entropy is expected, found mse mean"),
        ("2 losses per update", "2 losses per update is expected, found 1, first in"),
        ("4 backward passes per update", "passes per update is expected, found 1"),
        ("13 updates", "updates: 13 updates is expected, found 12"),
        ("adam", "optimizer: Adam is expected, found SGD, first in update 1"),
        ("optimizer Lion", "optimizer: lion is expected, found SGD"),
        ("update by hand", "optimizer: update by hand is expected, found SGD"),
        ("lr 0.01", "rate: lr 0.01 is expected, found lr 0.1, first in update 1"),
        ("no clip", "clip: no clip is expected, found clip norm 1"),
        ("clip norm 5", "clip: clip norm 5 is expected, found clip norm 1"),
        ("clip value 1", "clip: clip value 1 is expected, found clip norm 1"),
        ("carried; carried", "modules: 2 modules is expected, found 1 recurrent"),
    ],
)
def test_each_part_is_refused(expected, message):
    (line,) = found("right_chunks", expected)
    assert message in line


@pytest.mark.parametrize(
    "expected",
    [
        "TBPTT( 10,10 )",
        "Carried",
        "MSELoss",
        "mse_loss mean",
        "clip norm 1.0",
        "lr 1e-1",
    ],
)
def test_other_words_for_a_part(expected):
    assert found("right_chunks", expected) == []


UNCUT = ("right_chunks", "TBPTT(10, 10)", "h.detach()", "h")
ZEROS = ("right_chunks", "TBPTT(10, 10)", ", h.detach())", ")")
SINGLE = ("right_cells", "TBPTT(5, 5)", "(x[t], h)", "(x[t], h.detach())")
INTO_NEXT = ("state_into_next_epoch", "carried, zeros at each epoch", "", "")
MASKED = "h.detach() * (i != 20)"
VALIDATED = ("right_chunks", "carried, zeros at each epoch", "h.detach()", MASKED)


@pytest.mark.parametrize(
    ("loop", "message"),
    [
        (ZEROS, "states: carried is expected, found a state from zeros, and the data"),
        (SINGLE, "found 1 new step in a window of 1"),
        (
            INTO_NEXT,
            "found a state that is carried into the next epoch, first in update",
        ),
        (VALIDATED, "found a state from zeros, and the data follow those of the"),
        (("state_part_lost", "carried", "", ""), "found one of h and c from zeros"),
        (
            ("state_from_elsewhere", "carried", "", ""),
            "that this window does not follow",
        ),
        (("state_lost", "carried", "", ""), "first in update 2 (<string>:"),
        (
            ("evaluation_in_update", "SGD", "", ""),
            "1, as in most, is expected, found 2",
        ),
        (("rate_vanishes", "lr from 0.1 to 0.01", "", ""), "found lr 1e-12, first in"),
        (("rate_vanishes", "lr 0.1", "", ""), "found lr 0.01, first in update 2"),
        (("no_update", "carried", "", ""), "an update is expected, found none"),
    ],
)
def test_mistakes_of_states_are_refused(loop, message):
    assert any(message in line for line in found(loop[0], *loop[1:]))


def test_state_that_is_attached_is_refused():
    with torch_rnn.audit() as report, pytest.raises(RuntimeError):
        exec(source(*UNCUT[:1], *UNCUT[2:]), {})
    (line,) = differences(report.loop, read_expectation("carried"))
    assert "attached to the graph of an earlier update, first in update 2" in str(line)


def test_modules_have_their_own_parts():
    encoder, decoder = nn.GRU(2, 4), nn.GRU(1, 4)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters)
    with torch_rnn.audit() as report:
        for _ in range(3):
            optimizer.zero_grad()
            _, h = encoder(torch.randn(7, 3, 2))
            decoder(torch.randn(4, 3, 1), h)[0].square().mean().backward()
            optimizer.step()
    assert "full BPTT over 7 steps" in report.description
    assert (
        "zeros at each window, loss at the last step; full BPTT" in report.description
    )
    assert "batch of 3, computed, loss at all" in report.description
    expected = "full BPTT over 7 steps; full BPTT over 5 steps"
    (line,) = differences(report.loop, read_expectation(expected))
    assert str(line).startswith("GRU 2: truncation: full BPTT over 5 steps is expected")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expect is empty: expected parts as in 'TBPTT(20, 20)"),
        ("carryed", "expect has the part 'carryed', did you mean 'carried'?"),
        ("TBPTT(20)", "expect has the part 'TBPTT(20)', expected parts as in 'TBPTT("),
        ("lr 1, lr 2", "two parts on one thing, 'lr 1' and 'lr 2': leave one out"),
    ],
)
def test_unknown_parts_are_refused(text, message):
    with pytest.raises(InputError) as caught:
        read_expectation(text)
    assert message in str(caught.value)
    with pytest.raises(InputError), torch_rnn.audit(expect=text):
        pass


def test_the_example_is_an_expectation():
    assert read_expectation(EXAMPLE).loop["clip"][0].text == "clip norm 1"


def test_audit_fails_at_its_end_with_the_report():
    with torch_rnn.audit(expect=CHUNKS):
        exec(source("right_chunks"), {})
    with (
        pytest.raises(AssertionError, match="Not as expected: clip: no clip") as caught,
        torch_rnn.audit(expect="no clip"),
    ):
        exec(source("right_chunks"), {})
    assert f"This loop is: {CHUNKS}" in str(caught.value)


def test_a_warning_is_not_as_expected():
    with (
        pytest.raises(AssertionError, match="gradients-not-zeroed"),
        torch_rnn.audit(expect="SGD"),
    ):
        exec(source("gradients_not_zeroed"), {})


def test_an_exception_of_the_block_comes_first():
    with pytest.raises(KeyError), torch_rnn.audit(expect="carried"):
        raise KeyError
