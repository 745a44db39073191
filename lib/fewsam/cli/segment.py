"""``fewsam segment``: labelmaps on the images' own grids."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fewsam.cli.common import DEFAULT_TASK, Conf, Task, bars, counter, note, parse_conf, say
from fewsam.cli.segment_pacs import is_address, segment_pacs
from fewsam.cli.workers import Cluster, Failures, Rate, Workers, chosen_pool
from fewsam.images.endings import FLAT_ENDINGS, LABELMAP_ENDINGS, split_ending

if TYPE_CHECKING:
    from fewsam.fewshot.inference.prediction import Prediction
    from fewsam.images.volume import Volume
    from fewsam.workspace.workspace import Workspace


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: fewsam segment sample-data/ct/patient02.nii.gz --task my-task -o patient02.seg.nrrd")(
        segment
    )


def segment(
    images: Annotated[
        list[str],
        typer.Argument(
            help="The images: files, DICOM folders, or folders of images; or the DICOMweb address of a PACS, "
            "e.g. http://127.0.0.1:8042/dicom-web?Modality=CT."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A file (.nii.gz, .nrrd, .seg.nrrd, .png), or a folder.")
    ],
    task: Task = DEFAULT_TASK,
    json_beside: Annotated[
        bool, typer.Option("--json", help="Write a JSON file with uncertainty and model beside each labelmap.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace labelmaps that exist already.")] = False,
    store: Annotated[
        bool, typer.Option("--store", help="Store the answers in the PACS as DICOM SEG, and write no labelmaps.")
    ] = False,
    workers: Workers = None,
    cluster: Cluster = None,
    conf: Conf = None,
) -> None:
    """Segment images with the task's labelled slices, and with its decoder once it is trained.

    For a PACS, and with --workers or --cluster, the folder gets a manifest.jsonl, and the same command goes on where it
    was stopped.
    """
    from fewsam.core.errors import ConfigError
    from fewsam.images.casefiles import find_images
    from fewsam.images.sequences import load_image
    from fewsam.workspace.task_settings import task_settings
    from fewsam.workspace.workspace import open_task

    addresses = [image for image in images if is_address(image)]
    if addresses:
        if len(images) > 1 or not _is_folder(output) or json_beside:
            raise ConfigError(f"{addresses[0]}: a PACS is segmented alone, into a folder, and without --json")
        _check_folder(output)
        segment_pacs(addresses[0], task, parse_conf(conf), output, store, overwrite, workers, cluster)
        return
    if store:
        raise ConfigError("--store is for a PACS; give its DICOMweb address, e.g. http://127.0.0.1:8042/dicom-web")
    sequences = task_settings(task, None, parse_conf(conf)).sequences
    paths = find_images(map(Path, images), sequences)
    if workers is not None or cluster:
        _segment_many(task, parse_conf(conf), paths, output, overwrite, json_beside, workers, cluster)
        return
    targets = _targets(paths, output, overwrite, json_beside)
    with open_task(task, conf=parse_conf(conf)) as workspace, bars() as progress:
        for path, target in zip(paths, targets, strict=True):
            volume = load_image(path, workspace.settings.axis, workspace.settings.sequences)
            _check_png(path, target, volume)
            _segment(workspace, volume, path, target, json_beside, counter(progress, path.name, volume.depth))


def _segment(
    workspace: Workspace,
    volume: Volume,
    path: Path,
    target: Path,
    json_beside: bool,
    progress: Callable[[int, int], None],
) -> None:
    from fewsam.core.class_values import names_by_value
    from fewsam.images.casefiles import case_id
    from fewsam.images.volume import save_labelmap
    from fewsam.workspace.segment import segment_volume

    started = time.monotonic()

    def save(found: Prediction) -> None:
        save_labelmap(target, found.labelmap, volume.geometry, names_by_value(found.classes))

    prediction = segment_volume(workspace, volume, case_id(path), progress, save)
    if json_beside:
        _write_json(target, path, prediction)
    _say_result(path, target, prediction, time.monotonic() - started)


def _segment_many(
    task: Path,
    conf: dict[str, str],
    paths: list[Path],
    output: Path,
    overwrite: bool,
    json_beside: bool,
    workers: int | None,
    cluster: str | None,
) -> None:
    """Segment on a pool, with one bar over all images and a manifest beside the labelmaps."""
    from fewsam.core.class_values import names_by_value
    from fewsam.core.errors import ConfigError, FewSAMError
    from fewsam.images.volume import save_labelmap
    from fewsam.workspace.manifest import NAME, Manifest, draft_of
    from fewsam.workspace.segment import Segmented, segment_images
    from fewsam.workspace.workspace import open_task

    if not _is_folder(output):
        raise ConfigError(f"{output} is a file; give a folder: with --workers or --cluster it gets a {NAME} too")
    with open_task(task, conf=conf) as workspace, chosen_pool(workers, cluster) as pool, bars(Rate()) as progress:
        assert pool is not None
        manifest = Manifest(output, workspace)
        targets = dict(zip(paths, _targets(paths, output, True, json_beside), strict=True))
        done = {path for path, target in targets.items() if manifest.is_done(path, target)}
        # what would be replaced and is not of this run
        _targets([path for path in paths if path not in done], output, overwrite, json_beside)
        if json_beside:  # the run before may have been without
            done = {path for path in done if _json_path(targets[path]).is_file()}
        todo = [path for path in paths if path not in done]
        failures, failed = Failures(progress), {}
        bar = progress.add_task("images", total=len(todo), note="waiting for workers")

        def deliver(one: Segmented) -> None:
            why, target = one.error, targets[one.path]
            if one.prediction is not None and one.volume is not None:
                try:
                    _check_png(one.path, target, one.volume)
                    names = names_by_value(one.prediction.classes)
                    draft = draft_of(target)
                    save_labelmap(draft, one.prediction.labelmap, one.volume.geometry, names)
                    if json_beside:
                        _write_json(target, one.path, one.prediction)
                    manifest.add(one.path, draft, target, one.volume, one.prediction)
                except ConfigError as error:
                    why = str(error)
            if why:
                failed[str(one.path)] = why
                manifest.fail(one.path, why)
                failures.show(failed)
            progress.update(bar, advance=1, note=failures.told)

        segment_images(workspace, pool, todo, deliver)
    made, kept = len(todo) - len(failed), len(paths) - len(todo)
    say(f"{made} of {len(paths)} images segmented, {kept} were done before: {output}, with {NAME}")
    if failed:
        raise FewSAMError(f"{len(failed)} of {len(paths)} images have no labelmap: {'; '.join(failed)}")


def _check_png(path: Path, target: Path, volume: Volume) -> None:
    from fewsam.core.errors import ConfigError

    if target.name.lower().endswith(".png") and 1 not in volume.geometry.shape:
        raise ConfigError(f"{path}: a volume does not fit into a PNG; write .nii.gz or .seg.nrrd")


def _write_json(target: Path, path: Path, prediction: Prediction) -> None:
    from fewsam.core.class_values import names_by_value
    from fewsam.fewshot.model.store import write_atomically

    names = {name: value for value, name in names_by_value(prediction.classes).items()}
    answer = {**prediction.as_json(), "image": path.name, "label_names": names}
    write_atomically(_json_path(target), (json.dumps(answer, indent=1) + "\n").encode())


def _say_result(path: Path, target: Path, prediction: Prediction, seconds: float) -> None:
    model = f"model {prediction.model_version}" if prediction.trained else "untrained"
    say(f"{path.name} -> {target} ({model}, {prediction.shots} labelled slices, {seconds:.1f} s)")
    for line in prediction.notes:
        note(f"{path.name}: {line}")
    if prediction.remaining and prediction.shots:
        note(f"{path.name}: time ran out, {len(prediction.remaining)} slices are not segmented")


def _targets(paths: list[Path], output: Path, overwrite: bool, json_beside: bool) -> list[Path]:
    """The file that each labelmap is written to.

    Raises:
        ConfigError: an ending that is not written, several images for one file, two of one name, or something in the
            way. It is checked before the images are segmented.
    """
    from fewsam.core.errors import ConfigError
    from fewsam.images.casefiles import case_id

    if _is_folder(output):
        endings = [".png" if path.name.lower().endswith(FLAT_ENDINGS) else ".nii.gz" for path in paths]
        targets = [output / f"{case_id(path)}{ending}" for path, ending in zip(paths, endings, strict=True)]
    elif not output.name.lower().endswith(LABELMAP_ENDINGS):
        raise ConfigError(
            f"{output}: labelmaps are written as {', '.join(LABELMAP_ENDINGS)}; choose one of these, or a folder (make "
            "it first if there is a dot in its name)"
        )
    elif len(paths) != 1:
        raise ConfigError(f"{output} is one file for {len(paths)} images; give a folder")
    else:
        targets = [output]
    for n, target in enumerate(targets):
        if target in targets[:n]:
            raise ConfigError(f"two of the images would be written to {target}; segment them into folders of their own")
        if any(target.exists() and path.exists() and target.samefile(path) for path in paths):
            raise ConfigError(f"{target} is one of the images; choose another output")
        for file in (target, _json_path(target)) if json_beside else (target,):
            if file.is_dir():
                raise ConfigError(f"{file} is a folder; choose another output")
            if file.exists() and not overwrite:
                raise ConfigError(f"{file} is there already; pass --overwrite, or choose another output")
        _check_folder(target.parent)
    return targets


def _is_folder(output: Path) -> bool:
    return output.is_dir() or not Path(output.name).suffix[1:2].isalpha()


def _check_folder(folder: Path) -> None:
    """Raise ConfigError where ``folder`` can neither be written to nor made."""
    from fewsam.core.errors import ConfigError

    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise ConfigError(f"{folder} cannot be a folder, since {nearest} is a file; choose another output")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"{nearest} may not be written to; choose another output, or have its permissions changed")


def _json_path(target: Path) -> Path:
    return target.with_name(split_ending(target.name, LABELMAP_ENDINGS)[0] + ".json")
