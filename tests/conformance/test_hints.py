"""The hints of the suite, for wrong ports that share no code with the mutants."""

import pytest
from hypothesis import Phase, settings
from test_partial_ports import Partial, Untransposed

from numpy_rnn.conformance.properties import (
    BoundExceeded,
    check_port_global,
    check_port_local,
    check_port_lockstep,
    profile,
)

FEW = settings(profile("default"), max_examples=60, derandomize=True)
OF_LEVEL = {check_port_lockstep: settings(FEW, phases=[Phase.generate])}  # shrinking a run takes long


def changed(change):
    """A port whose call is changed: change(window_update, p, x, h_0, options) → report."""

    class Changed(Partial):
        def window_update(self, p, x, h_0, **options):
            return change(super().window_update, p, x, h_0, options)

    return Changed


def gradients_over_steps(update, p, x, h_0, options):
    report = update(p, x, h_0, **options)
    for name, theta in p.items():
        gradient = report["d" + name] / len(x)
        report |= {"d" + name: gradient, name: theta - theta.dtype.type(options["learning_rate"]) * gradient}
    return report


def zero_state(update, p, x, h_0, options):
    return update(p, x, 0 * h_0, **options)


def only_step(factor):
    def change(update, p, x, h_0, options):
        return update(p, x, h_0, **options | {"learning_rate": factor * options["learning_rate"]})

    return change


WRONG = {
    "untransposed": (Untransposed, "W_hh used without its transpose, or W_hh and W_hh in dh_0 used without transposes"),
    "zeros": (changed(zero_state), "zeros for h_0"),
    "over T": (changed(gradients_over_steps), "gradients divided by T"),
    "ascent": (changed(only_step(-1)), "gradient ascent"),
}


@pytest.mark.parametrize("check", [check_port_local, check_port_global, check_port_lockstep], ids=["L1", "L2", "L3"])
@pytest.mark.parametrize(("port", "hint"), WRONG.values(), ids=WRONG)
def test_hint_names_the_mistake(port, hint, check):
    """With intermediates or as a black box, for a window or for a run."""
    with pytest.raises(BoundExceeded) as error:
        check(port(has=("intermediates",) if check is check_port_local else ()), "float64", OF_LEVEL.get(check, FEW))
    message = str(error.value).partition("; the largest error")[0]
    assert message.endswith(f"; looks like: {hint}")


def test_no_hint_for_an_unknown_mistake():
    """Three times the learning rate, an error in one element only, and one that gradient ascent explains to 87 %."""

    def element(update, p, x, h_0, options):
        report = update(p, x, h_0, **options)
        report["dW_xh"][0, 0] *= 1.5
        return report

    for change in (only_step(3), element, only_step(-1.3)):
        for check in (check_port_global, check_port_lockstep):
            with pytest.raises(BoundExceeded) as error:
                check(changed(change)(has=()), "float64", OF_LEVEL.get(check, FEW))
            assert "looks like" not in str(error.value)
