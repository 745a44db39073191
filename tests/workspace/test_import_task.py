"""A task carried over to another installation: exported and imported, it segments the same, and what does not fit is
refused before anything is changed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fewsam.collection.taskfile import read_task, write_task
from fewsam.core.errors import CheckpointError, ConfigError, FewSAMError, LabelError
from fewsam.fewshot.training.train import train
from fewsam.images.labelfile import read_label
from fewsam.images.volume import Volume, load_volume
from fewsam.workspace.export import export_task
from fewsam.workspace.import_task import import_task
from fewsam.workspace.workspace import Workspace, open_task
from helpers.tiny_task import NAMES, QUICK, write_case


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A task trained on slices 3 and 6 of image a, its task files without and with pixels, and an unlabelled image."""
    root = tmp_path_factory.mktemp("origin")
    image, label = write_case(root, "a")
    volume = load_volume(image)
    masks = read_label(label, volume.geometry, dict(enumerate(NAMES, 1)))
    # What was imported without its pixels has no vote.
    with open_task(root / "task", conf={**QUICK, "atlas": "false"}, create=True) as workspace:
        chosen = np.isin(np.arange(12), [3, 6])[:, None, None]
        labelled = {name: mask & chosen for name, mask in masks.items()}
        workspace.collection.submit(volume, "MILLER^ANNA", labelled, annotator="ann", source="rest:final")
        train(workspace.settings, workspace.collection, workspace.embedder, workspace.store, folder=root / "run")
        export_task(workspace, root / "plain.fewsam")
        export_task(workspace, root / "pixels.fewsam", with_pixels=True)
    other = load_volume(write_case(root, "b", shift=1.0)[0])
    return SimpleNamespace(
        root=root, task=root / "task", plain=root / "plain.fewsam", pixels=root / "pixels.fewsam", other=other,
        volume=volume, masks=masks,
    )  # fmt: skip


def probabilities(folder: Path, volume: Volume) -> tuple[np.ndarray, tuple[str, ...]]:
    with open_task(folder) as workspace:
        prediction = workspace.predictor.predict(volume)
        return prediction.labelmap, prediction.classes


def test_an_import_segments_as_the_origin_does(origin: SimpleNamespace, tmp_path: Path) -> None:
    done = import_task(origin.plain, tmp_path / "task")
    assert (done.classes, done.shots, done.with_pixels, done.version) == (NAMES, 2, 0, 1)
    mine, classes = probabilities(origin.task, origin.other)
    theirs, names = probabilities(tmp_path / "task", origin.other)
    assert mine.any()
    assert names == classes
    np.testing.assert_array_equal(mine, theirs)
    with open_task(tmp_path / "task") as workspace:
        assert workspace.collection.shots() == []
        prediction = workspace.predictor.predict(origin.other, slices=[5])
    assert prediction.trained
    assert "2 imported labelled slices prompt as well" in prediction.notes
    assert any("heart" in name for name in prediction.classes)


def test_the_file_says_where_it_is_from_and_hides_who_it_is_of(origin: SimpleNamespace) -> None:
    meta = read_task(origin.plain).meta
    assert [(shot.slice, shot.annotator, shot.source) for shot in meta.shots] == [
        (3, "ann", "rest:final"),
        (6, "ann", "rest:final"),
    ]
    assert all(shot.time for shot in meta.shots)
    assert meta.encoder.name == "compact"
    assert meta.card is not None
    assert (meta.card["steps"], meta.card["shots"]) == (4, [0, 1])
    body = origin.plain.read_bytes()
    assert b"MILLER" not in body
    assert str(origin.root).encode() not in body


def test_pixels_go_along_only_when_asked_for(origin: SimpleNamespace) -> None:
    plane = origin.volume.raw_slice(3)
    assert not read_task(origin.plain).pixels
    assert plane[1].tobytes() not in origin.plain.read_bytes()
    with_pixels = read_task(origin.pixels)
    np.testing.assert_array_equal(with_pixels.pixels[0], plane)
    np.testing.assert_array_equal(with_pixels.drawn[0], np.stack([origin.masks[name][3] for name in NAMES]))


@pytest.mark.slow
def test_imported_pixels_can_be_trained_on(origin: SimpleNamespace, tmp_path: Path) -> None:
    import_task(origin.pixels, tmp_path / "task", conf=QUICK)
    mine, _ = probabilities(origin.task, origin.other)
    theirs, _ = probabilities(tmp_path / "task", origin.other)
    np.testing.assert_array_equal(mine, theirs)
    with open_task(tmp_path / "task") as workspace:
        shots = workspace.collection.shots()
        assert [shot.slice for shot in shots] == [3, 6]
        assert {(shot.annotator, shot.source) for shot in shots} == {("ann", "import")}
        assert all(shot.shot_id < 0 for shot in shots)
        assert workspace.collection.shots(image_id="MILLER^ANNA") == []
        result = train(
            workspace.settings, workspace.collection, workspace.embedder, workspace.store, folder=tmp_path / "run"
        )
        assert (result.published, result.version) == (True, 2)
    import_task(origin.plain, tmp_path / "without")
    with open_task(tmp_path / "without") as workspace, pytest.raises(LabelError, match="no labelled slice"):
        train(workspace.settings, workspace.collection, workspace.embedder, workspace.store, folder=tmp_path / "run2")


def test_own_slices_and_imported_ones_work_together(origin: SimpleNamespace, tmp_path: Path) -> None:
    conf = {**QUICK, "labels": "bone,LIVER"}
    with open_task(tmp_path / "task", conf=conf, create=True) as workspace:
        bone = np.zeros(origin.other.slices.shape, bool)
        bone[4, 20:30, 20:30] = True
        workspace.collection.submit(origin.other, "b", {"bone": bone})
    done = import_task(origin.plain, tmp_path / "task")
    assert done.version == 1
    again = import_task(origin.plain, tmp_path / "task")
    assert again.again
    with open_task(tmp_path / "task") as workspace:
        assert len(workspace.collection.supports()) == 1
        assert workspace.collection.classes == ("bone", "LIVER", "heart", "bead")  # values of old ones stay
        prediction = workspace.predictor.predict(origin.other, "b")
        assert prediction.pasted == [4]
        np.testing.assert_array_equal(prediction.labelmap[4] == 1, bone[4])
        assert {value for value in np.unique(prediction.labelmap) if value} - {1}
        meta = export_task(workspace, tmp_path / "both.fewsam")
        assert meta.classes == ("bone", "LIVER", "heart", "bead")
        assert len(meta.shots) == 3
        before = workspace.predictor.predict(origin.other)
    import_task(tmp_path / "both.fewsam", tmp_path / "third")
    with open_task(tmp_path / "third") as workspace:
        after = workspace.predictor.predict(origin.other)
    np.testing.assert_array_equal(after.labelmap, before.labelmap)


def test_an_untrained_task_carries_over_too(origin: SimpleNamespace, tmp_path: Path) -> None:
    with open_task(tmp_path / "source", conf=QUICK, create=True) as workspace:
        with pytest.raises(LabelError, match="nothing is labelled yet"):
            export_task(workspace, tmp_path / "cold.fewsam")
        workspace.collection.submit(origin.volume, "a", origin.masks)
        assert export_task(workspace, tmp_path / "cold.fewsam").card is None
    assert import_task(tmp_path / "cold.fewsam", tmp_path / "task").version == 0
    with open_task(tmp_path / "task") as workspace:
        prediction = workspace.predictor.predict(origin.other)
    assert not prediction.trained
    assert prediction.labelmap.any()


def test_another_encoder_is_refused(origin: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="compact at 128 px.*here it is compact at 256 px.*--conf encoder="):
        import_task(origin.plain, tmp_path / "task", conf={"input_size": "256"})
    assert not (tmp_path / "task").exists()


def test_other_preprocessing_is_refused(origin: SimpleNamespace, tmp_path: Path) -> None:
    with open_task(tmp_path / "task", conf={**QUICK, "window": "0,50"}, create=True):
        pass
    with pytest.raises(ConfigError, match="window.*folder of its own"):
        import_task(origin.plain, tmp_path / "task")
    task = read_task(origin.plain)
    write_task(tmp_path / "old.fewsam", replace(task, meta=task.meta.model_copy(update={"preprocessing": 99})))
    with pytest.raises(CheckpointError, match="version 99 of the preprocessing"):
        import_task(tmp_path / "old.fewsam", tmp_path / "other")


def test_a_decoder_that_does_not_fit_changes_nothing(origin: SimpleNamespace, tmp_path: Path) -> None:
    task = read_task(origin.plain)
    assert task.decoder is not None
    first = next(iter(task.decoder))
    for decoder in ({first: torch.zeros(3)}, {**task.decoder, "more": torch.zeros(1)}):
        write_task(tmp_path / "odd.fewsam", replace(task, decoder=decoder))
        with pytest.raises(CheckpointError, match="does not fit this version"):
            import_task(tmp_path / "odd.fewsam", tmp_path / "task")
    assert task.meta.card is not None
    switches = task.meta.card["switches"]
    strange: list[dict[str, Any]] = [
        {"switches": {**switches, "stride": 10**9}},
        {"switches": {**switches, "detail_channels": 3}},
        {"switches": {**switches, "stride": 0}},
        {"class_ids": [f"class {n}" for n in range(3000)]},
        {"encoder": "00"},
        {"classes": 3},
        {"detail_size": 10**6},
    ]
    for odd in strange:
        meta = task.meta.model_copy(update={"card": {**task.meta.card, **odd}})
        write_task(tmp_path / "odd.fewsam", replace(task, meta=meta))
        with pytest.raises(CheckpointError):
            import_task(tmp_path / "odd.fewsam", tmp_path / "task")
    write_task(tmp_path / "odd.fewsam", replace(task, decoder={**task.decoder, first: task.decoder[first] * np.nan}))
    with pytest.raises(CheckpointError, match="not finite"):
        import_task(tmp_path / "odd.fewsam", tmp_path / "task")
    assert not (tmp_path / "task").exists()


def test_a_damaged_import_does_not_stop_the_task(origin: SimpleNamespace, tmp_path: Path) -> None:
    shutil.copytree(origin.task, tmp_path / "task")
    import_task(origin.plain, tmp_path / "task")
    (kept,) = (tmp_path / "task" / "imported").glob("*.fewsam")
    kept.write_bytes(kept.read_bytes()[:1000])
    with open_task(tmp_path / "task") as workspace:
        prediction = workspace.predictor.predict(origin.other, slices=[5])
    assert any("damaged" in note for note in prediction.notes)
    assert prediction.shots == 2


def test_hostile_settings_are_refused(origin: SimpleNamespace, tmp_path: Path) -> None:
    task = read_task(origin.plain)
    hostile: list[dict[str, Any]] = [{"axis": ["x"]}, {"prototypes": 10**9}, {"window": "wide open"}]
    for values in hostile:
        meta = task.meta.model_copy(update={"settings": {**task.meta.settings, **values}})
        write_task(tmp_path / "odd.fewsam", replace(task, meta=meta))
        with pytest.raises(FewSAMError):
            import_task(tmp_path / "odd.fewsam", tmp_path / "task")
    # what a file must not decide here: paths and devices
    paths = {"checkpoint": "/etc/passwd", "device": "cuda:7", "cache_gb": 1e9}
    meta = task.meta.model_copy(update={"settings": {**task.meta.settings, **paths}})
    write_task(tmp_path / "odd.fewsam", replace(task, meta=meta))
    import_task(tmp_path / "odd.fewsam", tmp_path / "task")
    with open_task(tmp_path / "task") as workspace:
        assert isinstance(workspace, Workspace)
        assert (workspace.settings.checkpoint, workspace.settings.device) == (None, "auto")
        assert workspace.settings.cache_gb == 8.0


@pytest.mark.parametrize("file", ["plain", "pixels"])
def test_what_was_imported_stays_the_structure_that_it_was(origin: SimpleNamespace, tmp_path: Path, file: str) -> None:
    import_task(getattr(origin, file), tmp_path / "task")
    first, *others = NAMES
    with open_task(tmp_path / "task") as workspace:
        collection = workspace.collection
        key = collection.names.called(first)
        assert key is not None
        collection.rename_structure(key, "renamed")
        collection.add_structure(first)  # another one, of which nothing was imported
        assert supported(workspace) == {"renamed", *others}
        collection.delete_structure(key)
        assert supported(workspace) == set(others)


def test_names_that_have_changed_sides_are_told_apart(origin: SimpleNamespace, tmp_path: Path) -> None:
    import_task(origin.pixels, tmp_path / "task")
    first, second, third = NAMES
    with open_task(tmp_path / "task") as workspace:
        collection = workspace.collection
        keys = [collection.names.called(name) for name in NAMES]
        assert keys[0] is not None and keys[1] is not None
        collection.rename_structure(keys[0], "renamed")
        collection.rename_structure(keys[1], first)
    again = import_task(origin.pixels, tmp_path / "task")
    assert again.again
    with open_task(tmp_path / "task") as workspace:
        card = workspace.store.load()
        assert card is not None and card.card.keys == tuple(keys)  # as its slices have it
        before = {shot.slice: set(shot.masks) for shot in workspace.collection.shots()}
        assert all(names <= {"renamed", first, third} for names in before.values())
        workspace.collection.delete_structure(keys[0])
    import_task(origin.pixels, tmp_path / "task")  # brings back what was deleted
    with open_task(tmp_path / "task") as workspace:
        assert "renamed" in workspace.collection.classes
    import_task(origin.plain, tmp_path / "task")  # another file: its names are those of now, or of no structure
    with open_task(tmp_path / "task") as workspace:
        names = workspace.collection.names
        (task,) = (task for task in workspace.collection.supports() if not task.pixels)
        assert task.meta.classes == (first, second, third) and len(set(names.present.values())) == 4


def test_what_was_learnt_of_an_import_is_not_measured_on(origin: SimpleNamespace, tmp_path: Path) -> None:
    import_task(origin.pixels, tmp_path / "task")
    with open_task(tmp_path / "task") as workspace:
        collection = workspace.collection
        shots = collection.shots()
        assert shots[0].shot_id < 0
        assert collection.places(shot.shot_id for shot in shots) == {shot.place for shot in shots}


def supported(workspace: Workspace) -> set[str]:
    """The structures that labelled slices of an import show."""
    task = workspace.predictor.ready()
    return set() if task is None else set(task.classes)
