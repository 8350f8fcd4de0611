"""The table of what a port may have: a row for each ability.

A port states an ability in `lacks` where it has it by default, and in `capabilities`
where it has it only if it says so; dtypes are stated in `dtypes`. The table says how a
run or a case uses the ability, and how they do without it. The names of the protocol,
the random cases, and the refusals and defaults of the command line are read from it.

A port *has* or *lacks* an ability. A case or a run *uses* it, as its *facts* tell, and
a *remedy* says by which fields it does without.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from numpy_rnn.common.records import (
    DTYPES,
    LOSS_NAMES,
    NONLINEARITY_NAMES,
    REDUCTION_NAMES,
    Objective,
    Step,
)
from numpy_rnn.conformance.case import STEP_OPTIONS, used_options

LARGEST_LOGIT = 30.0  # of outputs whose exponentials do not overflow

Fields = tuple[tuple[str, Any], ...]  # names of fields, and their values
Shape = Mapping[str, int]


class Ability(NamedTuple):
    """What a port may have.

    A value of a field, as of the loss, has its `field` and its `value`; a port does
    without it by another value of this field that it has. Of the others the remedies
    say which fields do without them.
    """

    name: str  # as a port states it
    words: str  # for a user of the command line: "it has no {words}"
    # Fields of a run or of a random case (CaseSpec), and their values, that do without
    # it: k1 and k2 are those of a run, K, no_h_0, logits and step those of a case. The
    # value of k1 or k2 may be the name of the other one, or T. Empty: nothing does.
    remedy: Fields = ()
    statement: Literal["lacks", "capabilities", "dtypes", "nowhere"] = "lacks"
    parent: str = ""  # the capability without which a port does not have it
    field: str = ""  # of which it is one of several values
    value: Any = None

    def is_used(self, facts: Mapping[str, Any]) -> bool:
        """Return whether a run or a case of which these facts are true uses it."""
        if self.field:
            return bool(facts[self.field] == self.value)
        return bool(facts.get(self.name))


def _choices(field: str, names: tuple[str, ...], by_default: int) -> Iterator[Ability]:
    """Rows for the values of a field of the objective; the first ones are had unless
    a port lacks them.
    """
    for number, name in enumerate(names):
        row = Ability(name, f"{field} {name!r}", field=field, value=name)
        if number >= by_default:
            row = row._replace(statement="capabilities")
        yield row


NO_MOMENTUM: Fields = (("momentum", 0.0), ("dampening", 0.0), ("nesterov", False))


def _options() -> Iterator[Ability]:
    """Rows for the options of the step. Without momentum, none of it is left."""
    for name, option in STEP_OPTIONS.items():
        remedy: Fields = ((name, Step._field_defaults[name]),)
        if name == "momentum":
            remedy = NO_MOMENTUM
        if option.capability:
            yield Ability(option.capability, option.words, remedy, "capabilities")
        else:
            yield Ability(name, option.words, remedy, parent="sgd_options")


# Rows whose remedies set the same field are in the order in which they are applied.
ABILITIES: tuple[Ability, ...] = (
    # What is reported or understood besides results; no window needs it.
    Ability("intermediates", "intermediate values", statement="capabilities"),
    Ability("input_gradients", "gradients of inputs", statement="capabilities"),
    Ability("sgd_options", "options of the step", statement="capabilities"),
    *_choices("nonlinearity", NONLINEARITY_NAMES, by_default=2),
    *_choices("reduction", REDUCTION_NAMES, by_default=2),
    *_choices("loss", LOSS_NAMES, by_default=1),
    Ability("bias", "biases", field="bias", value=True),
    Ability("no biases", "network without biases", field="bias", value=False),
    Ability(
        "class_inputs",
        "inputs that are classes",
        statement="capabilities",
        field="class_inputs",
        value=True,
    ),
    Ability(
        "vector_inputs", "inputs that are vectors", field="class_inputs", value=False
    ),
    Ability(
        "older steps",
        "window with older steps, which have no loss",
        remedy=(("k1", "k2"), ("K", "T")),
    ),
    Ability(
        "h_0",
        "state that is carried from window to window",
        remedy=(("k1", "T"), ("k2", "T"), ("no_h_0", True)),
    ),
    Ability(
        "many losses",
        "window with several losses",
        remedy=(("k1", 1), ("K", 1)),
    ),
    Ability("batch", "batch of several sequences", remedy=(("B", 1),)),
    Ability(  # no port has it
        "networks",
        "ensemble of networks",
        remedy=(("networks", 1),),
        statement="nowhere",
    ),
    Ability(
        "large outputs",
        "outputs of 1e4, whose exponentials overflow",
        remedy=(("logits", LARGEST_LOGIT),),
    ),
    Ability("step", "update of the parameters", remedy=(("step", None),)),
    Ability(
        "plain SGD", "step but Adagrad's", remedy=(("adagrad", True), *NO_MOMENTUM)
    ),
    *_options(),
    *(
        Ability(dtype, dtype, statement="dtypes", field="dtype", value=dtype)
        for dtype in DTYPES
    ),
)
CAPABILITIES = tuple(row.name for row in ABILITIES if row.statement == "capabilities")
LACKS = tuple(row.name for row in ABILITIES if row.statement == "lacks")


class Abilities(NamedTuple):
    """What a port states: its capabilities, what it lacks, its sizes, its dtypes, and
    its reduction, if that is one of its own.

    Without sizes it has all of them.
    """

    capabilities: tuple[str, ...] = CAPABILITIES
    lacks: tuple[str, ...] = ()
    sizes: tuple[Shape, ...] = ()
    dtypes: tuple[str, ...] = DTYPES
    reduction: Any = None  # the name of a mean over some axes; None: a sum or a mean

    def has(self, ability: Ability) -> bool:
        """Return whether a port that states this has the ability."""
        if ability.field == "reduction" and self.reduction is not None:
            return True  # its cases and runs have its own reduction
        if ability.parent and ability.parent not in self.capabilities:
            return False
        if ability.statement == "lacks":
            return ability.name not in self.lacks
        return ability.name in (*self.capabilities, *self.dtypes)

    def lacked(self) -> Iterator[Ability]:
        """Yield every ability that a port which states this lacks, with the fields of a
        run that do without it: of one of several values, the first other one that the
        port has.
        """
        for ability in ABILITIES:
            if self.has(ability):
                continue
            if ability.field:
                field = ability.field
                others = [row for row in ABILITIES if row.field == field]
                had = [(field, row.value) for row in others if self.has(row)]
                ability = ability._replace(remedy=tuple(had[:1]))
            yield ability


EVERYTHING = Abilities()


def facts_of(
    objective: Objective, dtype: str, step: Step | None, others: Mapping[str, bool]
) -> dict[str, Any]:
    """Return the fields of a run or a case by name, and whether it uses the abilities
    that are no fields.

    others: those that are no choice of the objective and none of the step, with `bias`
    and `class_inputs`.
    """
    facts: dict[str, Any] = {"dtype": dtype, **objective._asdict(), **others}
    if step is not None:
        facts["step"] = True
        facts["plain SGD"] = not step.adagrad
        for name, option in used_options(step).items():
            facts[option.capability or name] = True
    return facts


def missing_abilities(facts: Mapping[str, Any], abilities: Abilities) -> list[Ability]:
    """Return every ability that is used and that a port lacks."""
    return [ability for ability in abilities.lacked() if ability.is_used(facts)]


def forced_fields(abilities: Abilities) -> dict[str, Any]:
    """Return the fields of a run that a port forces, by what it lacks."""
    fields = dict[str, Any]()
    for ability in abilities.lacked():
        fields.update(ability.remedy)
    return fields


def forced_schedule(
    fields: Mapping[str, Any], k1: int, k2: int, T: int
) -> tuple[int, int]:
    """Return k1 and k2 for a series of T steps, with those that these fields force."""
    known = {"T": T, "k2": k2}
    first = fields.get("k1", k1)
    first = known.get(first, first)
    second = fields.get("k2", k2)
    second = known.get(second, second)
    return first, max(first, second)


# Four shapes that show faults, for code that is compiled for every shape.
FEW_SIZES: tuple[Shape, ...] = (
    {"T": 4, "B": 2, "D": 3, "H": 6, "O": 5, "K": 3},
    {"T": 5, "B": 3, "D": 2, "H": 4, "O": 1, "K": 5},
    {"T": 12, "B": 1, "D": 4, "H": 17, "O": 2, "K": 1},
    {"T": 1, "B": 4, "D": 1, "H": 3, "O": 2, "K": 1},
)


def shapes_of(sizes: Any) -> list[Shape]:
    """Sizes as a list of shapes: of one shape, of several, or of the word "few"."""
    if sizes == "few":
        return list(FEW_SIZES)
    if isinstance(sizes, list | tuple):
        return list(sizes)
    return [sizes]
