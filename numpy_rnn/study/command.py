"""The command `study`."""

import time
from pathlib import Path

from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import configuration_of
from numpy_rnn.app.plots import check_matplotlib
from numpy_rnn.app.report import heading
from numpy_rnn.study.folder import PAGE, check_can_write_folder, write_folder
from numpy_rnn.study.setting import setting_of
from numpy_rnn.study.study import DRAWINGS, files_of, findings_of


def run(rnn, arguments) -> None:
    """Study the run that the arguments ask for, and write the folder.

    Raises InputError when the input cannot be used or the folder not be written, Diverged when the run leaves the range
    of its numbers.
    """
    check_matplotlib("install it, as the study draws its figures by it")
    figures = [f"figures/{drawing.name}.{ending}" for drawing in DRAWINGS for ending in ("svg", "png")]
    check_can_write_folder(arguments.folder, "--folder", [PAGE, "study.json", *figures])
    configuration = configuration_of(arguments)
    experiment = prepare(configuration)
    setting = setting_of(experiment, configuration, arguments.seeds, arguments.steps)
    print(heading([f"{rnn.__name__} study"], setting.experiment, configuration), flush=True)
    if len(setting.x) < len(experiment.x):
        print(f"the first {len(setting.x)} of {len(experiment.x)} steps are studied; --steps chooses more or fewer")
    began = time.monotonic()

    def begin(what):
        print(f"{time.monotonic() - began:5.1f} s  {what}", flush=True)

    findings = findings_of(setting, begin)
    begin("figures and page")
    write_folder(arguments.folder, files_of(findings))
    begin(f"done: open {Path(arguments.folder) / PAGE}")
