"""The runs of `compare`: that of a trace, or runs that all ports can make. What the
ports state chooses and refuses options of the command line.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from numpy_rnn.app.experiment import prepare_experiment
from numpy_rnn.app.options import (
    CommandOptions,
    declarations_of,
    option_name,
    option_words,
)
from numpy_rnn.app.series import Series
from numpy_rnn.arrays import ARRAY_KIND
from numpy_rnn.common.checks import checked_run_arguments
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import checked_integer
from numpy_rnn.common.records import Run, Schedule
from numpy_rnn.common.texts import join_names, pluralize
from numpy_rnn.conformance.arithmetics.bounds import TAU
from numpy_rnn.conformance.coverage import WHOLE_RUN, Computed
from numpy_rnn.conformance.ports.abilities import forced_schedule
from numpy_rnn.conformance.runs.recorded_run import RecordedRun
from numpy_rnn.conformance.runs.requirements import run_defaults, unsupported
from numpy_rnn.conformance.runs.run_sources import PortSource

NOT_OF_A_RUN = {"plot", "no_plot", "quiet", "timeout"}  # options
# Schedules without --k1 and --k2: the tutorial's, and one whose gradients go back
# through time.
USUAL_SCHEDULES = [Schedule(1, 1, 300), Schedule(1, 5, 60)]
OPTION_OF_FIELD = {"H": "hidden_size", "networks": "seeds"}  # options with another name
SCHEDULE = {"k1", "k2"}
FIELDS_OF_DATA = {
    "--data FILE": {"class_inputs": False, "loss": "squared_error"},
    "--text FILE": {"class_inputs": True, "loss": "cross_entropy"},
}
SUITE_COMMAND = "pytest --pyargs numpy_rnn.conformance --elman-backend my_rnn:port"
SUITE = f"no data of `compare` fit; expected a run of the suite, {SUITE_COMMAND}"


class TraceFile(NamedTuple):
    """A trace file as an implementation, whose run is the recorded one."""

    name: str
    recorded: RecordedRun
    tau: float = TAU
    computed: Computed = WHOLE_RUN

    def trace(self, run: Run) -> RecordedRun:
        """Return the recorded run."""
        return self.recorded


Source = PortSource | TraceFile


class FittedRuns(NamedTuple):
    """Runs from the same weights, which differ in their schedules."""

    series: str  # the name of the data
    runs: list[Run]
    notes: list[str]  # what was chosen without being asked for, a line each
    remedy: str = "use --k2 5"  # if no gradient goes back a step


def choose_runs(sources: list[Source], options: CommandOptions) -> FittedRuns:
    """Return the run of a trace, or else runs that all ports can make.

    Raises InputError on several traces, on options of a run with one, and on options
    that no run can have, or not with all ports.
    """
    traces = [source for source in sources if isinstance(source, TraceFile)]
    if not traces:
        checked_integer("--epochs", options.epochs, 1)
        return fitted_runs(sources, options)
    given = sorted(options.given.keys() - NOT_OF_A_RUN)
    if given or len(traces) > 1:
        words = [trace.name for trace in traces] + list(map(option_name, given))
        raise InputError(
            f"{' '.join(words)} are given: expected one trace, whose run is repeated,"
            " and no option of a run"
        )
    run = traces[0].recorded.run
    return FittedRuns("series of the trace", [run], [], "record a run with k2 5")


def fitted_runs(sources: list[Source], usual: CommandOptions) -> FittedRuns:
    """Choose runs that the compared ports can make. Only those of users limit the runs.

    Where an option is not given, what a port lacks chooses its value, in place of the
    usual default. Raises InputError if an option that is given asks for what a port
    lacks; the message names all options to change.
    """
    ports = [source for source in sources if type(source) is PortSource]  # of users
    forced = forced_values(ports, usual)
    values = {name: forced[name] for name in forced.keys() - SCHEDULE}
    options = replace(usual, **values)
    data, whole, *_ = prepare_experiment(options)
    steps = whole_windows(ports, min(len(whole.x), options.steps or len(whole.x)))
    run = whole._replace(x=whole.x[:steps], target=whole.target[:steps])
    schedules = asked_schedules(usual)
    runs = runs_by_schedule(run, schedules, forced)
    check_ports(ports, options, runs)
    T = len(run.x)
    notes = list(data.notes) if isinstance(data, Series) else []
    if len(whole.x) > T:
        notes.append(
            f"the first {T} of {len(whole.x)} steps are compared; --steps changes"
            " their number"
        )
    changed = changed_options(forced, usual, schedules, T)
    if changed:
        names = [port.name for port in ports]
        notes.append(f"chosen for what {join_names(names)} has: {' '.join(changed)}")
    return FittedRuns(data.name, runs, notes)


def whole_windows(ports: list[PortSource], steps: int) -> int:
    """Return how many steps of a series are compared: where a port has one length of
    windows, as many as give whole windows.
    """
    for port in ports:
        lengths = {shape.get("T") for shape in port.port.abilities.sizes}
        length = lengths.pop() if len(lengths) == 1 else None
        if length is not None and length <= steps:
            steps -= steps % length
    return steps


def forced_values(ports: list[PortSource], usual: CommandOptions) -> dict[str, Any]:
    """Return the values that the ports need of options that are not given."""
    free = declarations_of("compare").keys() - usual.given.keys()
    forced = {}
    for port in ports:
        for name, value in option_values(run_defaults(port.port.abilities)).items():
            if name in free:
                forced[name] = value
    return forced


def option_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of a run by the names of options, which some have."""
    return {OPTION_OF_FIELD.get(field, field): v for field, v in fields.items()}


def asked_schedules(options: CommandOptions) -> list[Schedule]:
    """Return the schedules of the runs, before ports limit them."""
    if options.given.keys() & {*SCHEDULE, "data", "text"}:
        return [options.run_options().schedule]
    if "epochs" not in options.given:
        return USUAL_SCHEDULES
    return [schedule._replace(epochs=options.epochs) for schedule in USUAL_SCHEDULES]


def runs_by_schedule(
    run: Run, schedules: list[Schedule], forced: dict[str, Any]
) -> list[Run]:
    """Return the run with each schedule, as it is forced: the last of those that are
    equal then.
    """
    runs = {}
    for k1, k2, epochs in schedules:
        schedule = Schedule(*forced_schedule(forced, k1, k2, len(run.x)), epochs)
        options = run.options._replace(schedule=schedule)
        fitted = run._replace(options=options)
        runs[schedule[:2]] = checked_run_arguments(ARRAY_KIND, fitted)
    return list(runs.values())


def changed_options(
    values: dict[str, Any],
    options: CommandOptions,
    schedules: list[Schedule],
    T: int,
) -> list[str]:
    """Return the options that give runs these values, as they are typed.

    Parameters
    ----------
    values : mapping of str to object
        Values by the names of options, and of the loss and whether inputs are classes,
        which the data have.
    options : CommandOptions
        The options that are changed.
    schedules : iterable of Schedule
        The schedules that are changed.
    T : int
        Steps of the series.

    Returns
    -------
    list of str
        One text for each option.
    """
    words = []
    changeable = declarations_of("compare").keys() - SCHEDULE
    for name, value in values.items():
        if name in ("loss", "class_inputs"):
            words += sources_of_data({name: value})
        elif name in changeable and value != getattr(options, name):
            words.append(option_words(name, value))
    for schedule in schedules:
        k1, k2 = forced_schedule(values, *schedule[:2], T)
        if (k1, k2) != schedule[:2]:
            words.append(f"--k1 {k1} --k2 {k2}")
    return list(dict.fromkeys(words))


def remedies_of_sizes(remedies: dict[str, Any], run: Run) -> list[str]:
    """Return what to type for sizes that the data have.

    Parameters
    ----------
    remedies : dict
        Values by the names of options, and sizes by their letters.
    run : Run
        The run, whose sizes do not fit.

    Returns
    -------
    list of str
        One text, or none.
    """
    parts = list[str]()
    columns = {remedies[letter] for letter in "DO" if letter in remedies}
    if "B" in remedies or len(columns) > 1:
        return [SUITE_COMMAND]
    if columns:
        parts.append(pluralize(columns.pop(), "column"))
    length = remedies.get("k2", 1)
    if isinstance(length, int) and length > len(run.x):
        parts.append(f"more than {length} rows, as windows have {length} steps")
    return [f"--data FILE with {' and '.join(parts)}"] if parts else []


def sources_of_data(fields: dict[str, Any]) -> list[str]:
    """Return the options whose data have these inputs and this loss, if any do."""
    words = []
    for word, values in FIELDS_OF_DATA.items():
        if all(fields.get(field, value) == value for field, value in values.items()):
            words.append(word)
    return words


def check_ports(
    ports: list[PortSource], options: CommandOptions, runs: list[Run]
) -> None:
    """Raise InputError, with all that is wrong and the options to change, unless the
    ports can make the runs.
    """
    schedules = [run.options.schedule for run in runs]
    messages = []
    for port in ports:
        forced = run_defaults(port.port.abilities)
        if not sources_of_data(forced):
            messages.append(f"{port.name} has other inputs or another loss: {SUITE}")
            continue
        missing = []
        remedies = dict[str, Any]()
        for run in runs:
            for ability in unsupported(port.port.abilities, run):
                missing.append(f"no {ability.words}")
                remedies.update(option_values(dict(ability.remedy)))
        if missing:
            message = f"{port.name} has {', '.join(dict.fromkeys(missing))}"
            changed = changed_options(remedies, options, schedules, len(runs[0].x))
            of_data = remedies_of_sizes(remedies, runs[0])
            if of_data == [SUITE_COMMAND]:
                changed = []
            if changed or of_data:
                message += f": use {' '.join(changed + of_data)}"
            messages.append(message)
    if messages:
        raise InputError("; ".join(messages))
