"""Options of the commands that can use several processes or a cluster, and the one bar that they show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, ProgressColumn, Task
from rich.text import Text

from fewsam.cli.common import err

if TYPE_CHECKING:
    from fewsam.core.pool import Pool

Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="How many processes of this machine work at once. They share the cores."),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        help="Where a Dask cluster works instead: tcp://HOST:PORT, tls://HOST:PORT, or slurm:FILE.yaml (also pbs:, "
        "lsf:, sge:), which asks that queueing system for workers.",
    ),
]


@contextmanager
def chosen_pool(workers: int | None, cluster: str | None) -> Iterator[Pool | None]:
    """The pool that the options ask for; None where there is none of them, and this process does the work itself."""
    from fewsam.core.cluster import open_pool
    from fewsam.core.errors import ConfigError

    if workers is None and not cluster:
        yield None
        return
    if workers is not None and cluster:
        raise ConfigError("--workers counts processes of this machine, and --cluster has workers of its own; give one")
    with open_pool(workers or 1, cluster) as pool:
        yield pool


class Rate(ProgressColumn):
    """How much is done in a second, a minute or an hour, whichever says it in small numbers."""

    def render(self, task: Task) -> Text:
        if not task.completed or not task.elapsed:
            return Text("")
        a_second = task.completed / task.elapsed
        for seconds, unit in ((1, "s"), (60, "min"), (3600, "h")):
            if a_second * seconds >= 1 or unit == "h":
                return Text(f"{a_second * seconds:.1f}/{unit}")
        return Text("")


class Failures:
    """Names what fails above the bar as it happens, and counts it on the bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told: set[str] = set()

    def show(self, failed: dict[str, str]) -> None:
        for name, why in failed.items():
            if name not in self._told:
                self._told.add(name)
                line = Text(f"failed: {why if why.startswith(name) else f'{name}: {why}'}", style="yellow")
                console = self._progress.console if self._progress.live.is_started else err()
                console.print(line)

    @property
    def told(self) -> str:
        """For the bar; empty where nothing failed."""
        return f"{len(self._told)} failed" if self._told else ""
