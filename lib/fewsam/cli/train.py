"""``fewsam train``: take labels in, then train the decoder."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from fewsam.cli.common import (
    DEFAULT_TASK,
    NUMBERING,
    Conf,
    Preset,
    Task,
    bars,
    counter,
    note,
    parse_conf,
    parse_numbers,
    say,
)

if TYPE_CHECKING:
    from rich.progress import Progress

    from fewsam.fewshot.training.run import TrainProgress
    from fewsam.images.volume import Volume
    from fewsam.workspace.workspace import Workspace


NAMING = "pass --names 1=liver,2=spleen with all of them, put a labels.json beside the labels"


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Example: fewsam train sample-data/ct/patient01.nii.gz --labels sample-data/truth/ct --slices 10,20,30 "
        "--preset ct-abdomen --task my-task"
    )(train)


def train(
    images: Annotated[
        list[Path] | None,
        typer.Argument(help="The labelled images; without any, the task trains on the labels that it has."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", "-l", help="The label file of one image, or a folder of labels with the images' names."
        ),
    ] = None,
    slices: Annotated[
        str | None,
        typer.Option("--slices", "-s", help=f"Take only these slices of each label: 10,20,30-32. {NUMBERING}"),
    ] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="A class that is not drawn on a labelled slice is absent there.")
    ] = False,
    names: Annotated[
        str | None,
        typer.Option(
            "--names", help="The names of the label values: 1=liver,2=spleen. Default: labels.json, or the class list."
        ),
    ] = None,
    annotator: Annotated[str, typer.Option("--annotator", help="The person who drew the labels.")] = "",
    unlabelled: Annotated[
        list[Path] | None,
        typer.Option(
            "--unlabelled",
            "-u",
            help="Images or folders that nobody labelled: the trained decoder learns from them too. It takes minutes, "
            "and is kept only where it helps on labelled slices held back.",
        ),
    ] = None,
    task: Task = DEFAULT_TASK,
    preset: Preset = None,
    conf: Conf = None,
) -> None:
    """Add labelled slices to the task, and train its decoder on all of them. After Ctrl-C the next run goes on."""
    from fewsam.core.errors import ConfigError, FewSAMError
    from fewsam.images.casefiles import by_id, find_images, match_labels, names_beside, parse_names
    from fewsam.workspace.task_settings import task_settings
    from fewsam.workspace.workspace import open_task

    if bool(images) != (labels is not None):
        raise ConfigError("images and --labels belong together: give both, or neither to train on what is there")
    pairs: dict[Path, Path] = {}
    wanted = None if slices is None else parse_numbers(slices, "--slices")
    given = parse_names(names) if names else {}
    if images and labels is not None:
        sequences = task_settings(task, preset, parse_conf(conf)).sequences
        paths = find_images(images, sequences)
        pairs = match_labels(paths, labels, sequences)
        if skipped := [path.name for path in paths if path not in pairs]:
            note(f"without a label, left out: {', '.join(skipped)}")
        given = given or names_beside(labels)
    with open_task(task, preset, parse_conf(conf), create=bool(images)) as workspace, bars() as progress:
        others = by_id(find_images(unlabelled, workspace.settings.sequences)) if unlabelled else {}
        if pairs:
            _ingest(workspace, _Reader(workspace, pairs, given, wanted, complete), annotator, progress)
        try:
            _encode(workspace, progress)
            trained = (unlabelled and _is_trained(workspace)) or _train(workspace, progress)
        except FewSAMError:
            note(f"the labels are kept in {task}: `fewsam train --task {task}` goes on with them")
            raise
        if unlabelled and trained:
            _improve(workspace, {name: str(path) for name, path in others.items()}, progress)


@dataclass(frozen=True)
class _Reader:
    """Reads labels as the command line asks for them."""

    workspace: Workspace
    pairs: dict[Path, Path]
    names: dict[int, str]
    slices: list[int] | None
    complete: bool

    def read(self, path: Path) -> tuple[Volume, dict[str, np.ndarray], set[int]]:
        """An image, its masks on the slices asked for, and those of these on which something is drawn.

        Raises:
            LabelError: the label cannot be read, or has nothing on these slices.
        """
        from fewsam.core.errors import LabelError
        from fewsam.images.labelfile import read_label
        from fewsam.images.sequences import load_image

        label, settings = self.pairs[path], self.workspace.settings
        volume = load_image(path, settings.axis, settings.sequences)
        names = self.names or self.workspace.collection.names.lasting()
        masks = read_label(label, volume.geometry, names, naming=NAMING)
        if self.slices is None:
            return volume, masks, set()
        if outside := [z for z in self.slices if z >= volume.depth]:
            raise LabelError(f"{path}: slices {outside} do not exist, it has slices 0 to {volume.depth - 1}")
        chosen = np.isin(np.arange(volume.depth), self.slices)[:, None, None]
        masks = {name: mask & chosen for name, mask in masks.items()}
        drawn = {z for z in self.slices if any(mask[z].any() for mask in masks.values())}
        if not drawn and not self.complete:
            raise LabelError(f"{label}: nothing is drawn on slices {self.slices}; name others")
        return volume, masks, drawn

    @property
    def complete_slices(self) -> set[int] | None:
        return set(self.slices) if self.complete and self.slices is not None else None


def _ingest(workspace: Workspace, reader: _Reader, annotator: str, progress: Progress) -> None:
    from fewsam.images.casefiles import case_id

    collection = workspace.collection
    if len(reader.pairs) > 1:  # of one label nothing is kept either way
        count = counter(progress, "labels checked", len(reader.pairs))
        for done, path in enumerate(reader.pairs, 1):
            volume, masks, _ = reader.read(path)
            collection.check(volume, case_id(path), masks, reader.complete_slices)
            count(done, len(reader.pairs))
    count = counter(progress, "labels", len(reader.pairs))
    for done, path in enumerate(reader.pairs, 1):
        volume, masks, drawn = reader.read(path)
        if (empty := sorted(set(reader.slices or ()) - drawn)) and not reader.complete:
            note(f"{path.name}: nothing is drawn on slices {empty}; left out (--complete makes them background)")
        receipt = collection.submit(
            volume,
            case_id(path),
            masks,
            annotator=annotator,
            source="fewsam train",
            absent_classes="complete" if reader.complete else None,
            complete_slices=reader.complete_slices,
            by_hand=drawn,  # of all other slices of the file nothing is said
        )
        if receipt.unknown_names:
            note(f"{path.name}: left out, no classes of this task: {', '.join(receipt.unknown_names)}")
        new = len(receipt.added) + len(receipt.superseded) + len(receipt.cleared)
        rest = f"{len(receipt.unchanged) + len(receipt.kept)} known already"
        if receipt.untouched:
            rest += f", {len(receipt.untouched)} as the model made them: not taken"
        say(f"{path.name}: {new} labelled slices taken in, {rest}")
        count(done, len(reader.pairs))


def _encode(workspace: Workspace, progress: Progress) -> None:
    from fewsam.fewshot.training.episodes import prepare_views

    shots = workspace.collection.shots()
    if shots:
        prepare_views(workspace.settings, shots, workspace.embedder, counter(progress, "views encoded"), priority=True)


def _is_trained(workspace: Workspace) -> bool:
    """Whether the served decoder has learnt from every labelled slice, but for those that are kept apart for good."""
    card = workspace.store.info()
    known = {*card.get("shots", ()), *card.get("measured_on", ())}
    return card["trained"] and known.issuperset(shot.shot_id for shot in workspace.collection.shots())


def _improve(workspace: Workspace, images: dict[str, str], progress: Progress) -> None:
    """Learn from images that nobody labelled."""
    from fewsam.fewshot.training.train import TrainStatus

    workspace.encode_unlabelled(images, counter(progress, "unlabelled images encoded"))
    with _interrupted() as should_stop:
        result = workspace.improve(images, _bar(progress, None), should_stop)
    if result.status is TrainStatus.STOPPED:
        say("stopped; the same command goes on from there")
        return
    for line in result.notes:
        note(line)
    say(f"model {result.version} {'is live' if result.published else 'stays'}, {result.seconds:.0f} s")


def _train(workspace: Workspace, progress: Progress) -> bool:
    """Train on the labelled slices; false where the person stopped it."""
    from fewsam.fewshot.training.train import TrainStatus

    shots = workspace.collection.shots()
    with _interrupted() as should_stop:
        result = workspace.train(_bar(progress, workspace.settings.steps), should_stop)
    for line in result.notes:
        note(line)
    if result.status is TrainStatus.STOPPED:
        say(f"stopped after {result.steps} steps; the same command goes on from there")
        return False
    held_back = len(workspace.store.info().get("measured_on", ()))
    dice = "not measured, with so few labelled slices" if result.metric is None else (
        f"{result.metric:.3f} on {held_back} slices held back"
    )  # fmt: skip
    outcome = f"model {result.version} is live" if result.published else f"model {result.version} stays"
    say(
        f"{outcome}: {len(shots)} labelled slices, {result.steps} of {workspace.settings.steps} steps in "
        f"{result.seconds:.0f} s. Dice: {dice}."
    )
    return True


def _bar(progress: Progress, steps: int | None) -> Callable[[TrainProgress], None]:
    """Shows a run of at most so many steps in percent; None for one that says itself how many it has."""
    bar = progress.add_task("training", total=None if steps is None else 100, note="")

    def show(now: TrainProgress) -> None:
        if steps is None:
            progress.update(bar, total=now.total_epochs, completed=now.step)
            return
        # a run ends by its steps or by its seconds: the further of the two, in percent, is how far it is
        done = max(now.step / steps, now.epoch / max(1, now.total_epochs))
        held = "" if now.metric is None else f", Dice {now.metric:.3f}"
        progress.update(bar, completed=int(100 * min(1.0, done)), note=f"step {now.step}, loss {now.loss:.3f}{held}")

    return show


@contextmanager
def _interrupted() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C end the run after its step, with its checkpoint kept; a second Ctrl-C ends it at once."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, before)

    try:
        before = signal.signal(signal.SIGINT, ask)
    except ValueError:  # not the main thread, which alone gets signals
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
