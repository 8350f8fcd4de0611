"""Runs that the compared ports can make: what their statements choose, and what they
refuse, in the options of the command line.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy_rnn.app.options import DEFAULTS, Configuration, option_words
from numpy_rnn.app.sources import Source
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Run, Schedule
from numpy_rnn.conformance.ports.abilities import forced_schedule
from numpy_rnn.conformance.runs import PackageSource, PortSource, run_defaults
from numpy_rnn.conformance.runs import unsupported as unsupported_by

# Runs from the same weights without --k1 and --k2: the tutorial's, and one whose
# gradients go back through time.
TUTORIAL, THROUGH_TIME = Schedule(1, 1, 300), Schedule(1, 5, 60)
OPTIONS = {"H": "hidden_size", "networks": "seeds"}  # of fields with another name
NOT_FORCED = ("loss", "k1", "k2", "seeds")  # --text chooses it; a schedule; never given


def ports_of(sources: Sequence[Source]) -> list[PortSource]:
    """Return the sources that are ports of the user's."""
    found = [each for each in sources if isinstance(each, PortSource)]
    return [each for each in found if not isinstance(each, PackageSource)]


def forced_fields(sources: Sequence[Source], options: Configuration) -> dict[str, Any]:
    """Return the fields of a run that ports force and that no option gives."""
    fields = {}
    for source in ports_of(sources):
        for field, value in run_defaults(source.port).items():
            name = OPTIONS.get(field, field)
            if name not in options.given:
                fields[name] = value
    return fields


def fitted(options: Configuration, fields: Mapping[str, Any]) -> Configuration:
    """Return the options with other defaults, but for the schedule."""
    forced = {}
    for name, value in fields.items():
        if name in DEFAULTS and name not in NOT_FORCED:
            forced[name] = value
    return Configuration(options.command, options.others, forced, **options.given)


def schedules(
    options: Configuration, fields: Mapping[str, Any], T: int
) -> list[Schedule]:
    """Return the schedules of the runs on a series of T steps."""
    chosen = [options.run_options().schedule]
    if not {"k1", "k2", "data", "text"} & options.given.keys():
        epochs = options.given.get("epochs")
        chosen = [
            usual._replace(epochs=epochs or usual.epochs)
            for usual in (TUTORIAL, THROUGH_TIME)
        ]
    found = {}
    for k1, k2, epochs in chosen:
        found[forced_schedule(fields, k1, k2, T)] = epochs
    return [Schedule(k1, k2, epochs) for (k1, k2), epochs in found.items()]


def chosen_words(
    sources: Sequence[Source],
    usual: Configuration,
    fitting: Configuration,
    runs: Sequence[Run],
) -> str:
    """Return what was chosen for the ports, as it is typed; "" if nothing was."""
    words = list[str]()
    for name in DEFAULTS:
        before, value = getattr(usual, name), getattr(fitting, name)
        if name == "dtype":
            before, value = before or "float32", value or "float32"
        is_same = value == before or (not value and not before)
        if name not in NOT_FORCED and not is_same:
            words.append(option_words(name, value))
    usual_schedules = schedules(usual, {}, len(runs[0].x))
    for run in runs:
        schedule = run.options.schedule
        if schedule[:2] not in [each[:2] for each in usual_schedules]:
            words.append(f"--k1 {schedule.k1} --k2 {schedule.k2}")
    if not words:
        return ""
    names = " and ".join(each.name for each in ports_of(sources))
    return f"chosen for what {names} has: {' '.join(words)}"


def check_ports(sources: Sequence[Source], runs: Sequence[Run]) -> None:
    """Raise InputError, with all that is wrong and the options to change, unless the
    ports can make the runs.
    """
    messages = list[str]()
    for source in ports_of(sources):
        absent, words = dict[str, None](), dict[str, None]()
        for run in runs:
            for ability in unsupported_by(source.port, run):
                absent[ability.words] = None
                words |= dict.fromkeys(remedy_words(ability.remedy, run))
        if absent:
            message = f"{source.name} has no {', no '.join(absent)}"
            if words:
                message += f": use {' '.join(words)}"
            if runs[0].params.networks is not None:
                message += "; leave out --seeds"
            messages.append(message)
    if messages:
        raise InputError("; ".join(messages))


def remedy_words(remedy: Sequence[tuple[str, Any]], run: Run) -> list[str]:
    """Return the options that change these fields of a run."""
    words = list[str]()
    schedule = run.options.schedule[:2]
    k1, k2 = forced_schedule(dict(remedy), *schedule, len(run.x))
    if (k1, k2) != schedule:
        words.append(f"--k1 {k1} --k2 {k2}")
    for field, value in remedy:
        name = OPTIONS.get(field, field)
        if getattr(run.options.step, field, ...) == value:
            continue
        if field in ("loss", "class_inputs"):
            is_text = value in (True, "cross_entropy")
            words.append("--text FILE" if is_text else "--data FILE")
        elif name in DEFAULTS and name not in NOT_FORCED:
            words.append(option_words(name, value))
        elif name not in NOT_FORCED:
            words.append(f"data with {name} = {value}")
    return words
