"""The command `study`: study a run, and write the lesson and its evidence."""

import importlib
import time
from types import ModuleType

import numpy as np

from numpy_rnn.app.experiment import prepare_experiment
from numpy_rnn.app.options import CommandOptions, make_options
from numpy_rnn.app.output import progress
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.texts import printable
from numpy_rnn.study.folder import (
    EVIDENCE_NAME,
    LESSON_NAME,
    check_folder,
    write_folder,
)
from numpy_rnn.study.subject import trained_subject

PACKAGES = ["matplotlib", "latex2mathml"]
NOT_OF_THE_RUN = ("folder", "given")  # fields of the options


def run(rnn: ModuleType, options: CommandOptions) -> int:
    """Study a run, and write the folder of its pages.

    The status is 1 if an equation is wrong.
    """
    check_packages()
    path = options.folder
    check_folder(path)
    began = time.monotonic()
    progress("training the networks")
    experiment = prepare_experiment(options)
    whole = experiment.run
    subject = trained_subject(
        experiment.data.name,
        whole,
        seed=options.seed,
        networks=options.seeds,
        steps=options.steps,
    )
    steps = len(subject.run.x)
    all_steps = len(whole.x)
    hidden = len(subject.start.W_hh)
    print(
        f"{rnn.__name__} study: {subject.name}, {steps} steps, {hidden} hidden "
        f"units, {subject.run.options.objective.nonlinearity}",
        flush=True,
    )
    if steps < all_steps:
        print(
            f"the first {steps} of {all_steps} steps are studied; --steps changes their"
            " number"
        )
    # It imports packages that check_packages has found.
    from numpy_rnn.study.evidence.page import make_evidence

    with np.errstate(over="ignore", invalid="ignore"):  # of networks that explode
        evidence = make_evidence(subject, choices_of(options))
    write_folder(path, evidence.files)
    print(evidence.verdict)
    lesson = printable(f"{path}/{LESSON_NAME}")
    page = printable(f"{path}/{EVIDENCE_NAME}")
    print(f"{time.monotonic() - began:.1f} s: open {lesson}; its evidence is {page}")
    return 0 if evidence.is_right else 1


def choices_of(options: CommandOptions) -> dict[str, str]:
    """Return the options other than the defaults, in words."""
    default = vars(make_options("study"))
    result = {}
    for name, value in vars(options).items():
        if name not in NOT_OF_THE_RUN and value != default[name]:
            result[name.replace("_", " ")] = printable(str(value))
    return result


def check_packages() -> None:
    """Raise InputError where a package that makes the page cannot be imported."""
    for package in PACKAGES:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise InputError(
                f"{package} cannot be imported ({error}): run"
                ' pip install ".[study]" in a checkout'
            ) from None
