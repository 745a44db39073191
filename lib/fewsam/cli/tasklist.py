"""Which tasks `fewsam evaluate` and `fewsam simulate` measure on: their options, and what those name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fewsam.evaluation.data.tasks import Task

TaskList = Annotated[
    Path | None, typer.Option("--tasks", help="The list of tasks (YAML). Default: that of the sample data.")
]
TaskRoot = Annotated[Path | None, typer.Option("--root", help="The folder that the paths in the list start from.")]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data", help="A data set instead of a list: images/ with labels/, a dataset.json, or DICOM with SEG."
    ),
]
OnlyTasks = Annotated[str | None, typer.Option("--only", help="Run only these tasks of the list, e.g. sample-ct.")]
SAMPLE_DATA = Path("sample-data")
Protocol = Annotated[
    str | None, typer.Option("--protocol", help="The protocol, slices or patients, whatever the list says.")
]


def choose_tasks(
    tasks: Path | None, root: Path | None, data: Path | None, only: str | None, protocol: str | None
) -> list[tuple[Task, Path]]:
    """Tasks and their roots as the options name them.

    Raises:
        ConfigError: an option does not fit, or there is no task with its files in place.
    """
    from fewsam.core.config import PRESET_DIR
    from fewsam.core.errors import ConfigError
    from fewsam.evaluation.data.sampling import PROTOCOLS
    from fewsam.evaluation.data.tasks import folder_task, load_tasks, task_root

    if protocol is not None and protocol not in PROTOCOLS:
        raise ConfigError(f"--protocol {protocol!r} is none of {', '.join(PROTOCOLS)}")
    if data is not None:
        if tasks is not None or root is not None:
            raise ConfigError("give --data or --tasks with --root, not both")
        chosen = [folder_task(data)]
        chosen[0][0].pairs(chosen[0][1])  # refuse now what cannot be read
        listed = data
    else:
        listed = tasks or PRESET_DIR / "evaluate" / "sample.yaml"
        if tasks is None and root is None and SAMPLE_DATA.is_dir():
            root = SAMPLE_DATA  # an installed fewsam has no repository around it
        chosen = load_tasks(listed, task_root(listed, root))
    if only is not None:
        wanted = [name.strip() for name in only.split(",")]
        if unknown := [name for name in wanted if name not in {task.name for task, _ in chosen}]:
            raise ConfigError(f"{listed} has no task {unknown[0]!r} with its files in place")
        chosen = [(task, place) for task, place in chosen if task.name in wanted]
    if not chosen:
        raise ConfigError(f"none of the tasks in {listed} has its files in place; pass --root")
    if protocol is not None:
        chosen = [(task.model_copy(update={"protocol": protocol}), place) for task, place in chosen]
    return chosen
