"""All series of a real PACS by one command: to a folder, or back as DICOM SEG that no server takes for a label."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest

from fewsam.images.dicomseg import read_seg
from fewsam.images.volume import load_volume
from fewsam.server.background.pacs_watch import PacsWatch
from fewsam.server.storage.pacs import Pacs
from fewsam.server.storage.pacs_datastore import PacsDatastore
from fewsam.server.tasks.labels import LabelIntake
from fewsam.workspace.task_settings import keep_settings
from helpers import tiny_volume as tiny
from helpers.browser import start_pacs
from helpers.command_line import refusal, run
from helpers.dicom_series import CT, MR, Slice, write_series
from helpers.server_harness import workspace_of
from helpers.tiny_task import voxels

UIDS = {"first": "1.2.3.1", "second": "1.2.3.2", "empty": "1.2.3.3", "other": "1.2.3.4"}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two CT series, one without pixels, which is no image, and an MR."""
    root = tmp_path_factory.mktemp("scans")
    for seed, (name, uid) in enumerate(UIDS.items()):
        path, _ = tiny.write_scan(root / "nifti", name, seed)
        planes = np.asarray(nib.load(path).dataobj).astype(np.int32).clip(0).astype(np.uint16)
        slices = [Slice(planes[:, :, k].T, (0, 0, 3.0 * k), spacing=(1, 1)) for k in range(planes.shape[2])]
        kind = (MR, "MR") if name == "other" else (CT, "CT")
        about = {"SeriesDescription": name, "SeriesInstanceUID": uid, "StudyInstanceUID": f"{uid}.9"}
        for file in write_series(root / "dicom" / name, slices, *kind, **about).iterdir():
            if name == "empty":
                data = pydicom.dcmread(file)
                del data.PixelData
                data.save_as(file, write_like_original=False)
    return root / "dicom"


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory, scans: Path) -> Iterator[Any]:
    one = start_pacs("orthanc", tmp_path_factory.mktemp("pacs"), scans)
    yield one
    one.stop()


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task with labelled slices of an image that is not in the PACS."""
    folder = tmp_path_factory.mktemp("task")
    tiny.labelled(folder, [4, 6], seed=9)[0].close()
    keep_settings(folder, tiny.settings(input_size=64))
    return folder


def stored_in(pacs: Any) -> dict[str, pydicom.Dataset]:
    """The DICOM SEGs of the PACS by the series that they were drawn on."""
    client = Pacs(pacs.dicomweb)
    found = [(uid, one) for uid, one in client.series().items() if one["Modality"] == "SEG"]
    segs = [client.instance(one["StudyInstanceUID"], uid, str(header.SOPInstanceUID)) for uid, one in found
            for header in client.instances(one["StudyInstanceUID"], uid)]  # fmt: skip
    by_series = {str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID): seg for seg in segs}
    assert len(by_series) == len(segs), "one for each series"
    return by_series


def lines(folder: Path) -> dict[str, dict[str, Any]]:
    text = (folder / "manifest.jsonl").read_text()
    return {entry["image"]: entry for entry in map(json.loads, text.splitlines())}


@pytest.mark.slow
def test_the_series_are_segmented_resumed_and_stored_once(
    pacs: Any, scans: Path, task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, address = tmp_path / "out", f"{pacs.dicomweb}?Modality=CT"
    line = ["segment", address, "--task", task, "--output", out]
    said = refusal(capsys, *line, "--workers", "1")
    assert "1 of 3 series have no answer: CT empty 1.2.3.3" in said, "the MR was not asked for"
    found = lines(out)
    assert found.keys() == {UIDS["first"], UIDS["second"], UIDS["empty"]} and found[UIDS["empty"]]["error"]
    entry = found[UIDS["first"]]
    assert entry["instances"] == "12" and entry["description"] == "first" and entry["shots"] == 2
    image = load_volume(scans / "first", axis="2")
    labelmap = voxels(out / f"{UIDS['first']}.nii.gz")
    assert labelmap.shape == image.geometry.shape and (labelmap == 1).sum() > 100
    assert entry["volumes_ml"]["left"] == pytest.approx((labelmap == 1).sum() * 3 / 1000)

    (out / f"{UIDS['second']}.nii.gz").unlink()  # as if the run had been stopped there
    kept = (out / f"{UIDS['first']}.nii.gz").stat().st_mtime_ns
    refusal(capsys, *line)
    assert kept == (out / f"{UIDS['first']}.nii.gz").stat().st_mtime_ns
    assert (out / f"{UIDS['second']}.nii.gz").is_file()

    assert run(*line, "--store") == 1
    segs = stored_in(pacs)
    assert segs.keys() == {UIDS["first"], UIDS["second"]}
    segs[UIDS["first"]].save_as(tmp_path / "seg.dcm", write_like_original=False)
    masks = read_seg(tmp_path / "seg.dcm", image.geometry)
    for value, name in enumerate(tiny.CLASSES, 1):
        found_there = image.geometry.to_native(masks[name]) if name in masks else np.zeros_like(labelmap, bool)
        assert np.array_equal(found_there, labelmap == value), name

    capsys.readouterr()
    assert run(*line, "--store") == 1
    assert "0 of 3 series segmented, 2 were done before: in the PACS" in capsys.readouterr().out
    (out / "manifest.jsonl").unlink()  # as if it had been killed before it could note what it stored
    assert run(*line, "--store") == 1
    again = {uid: seg.SOPInstanceUID for uid, seg in stored_in(pacs).items()}
    assert again == {uid: seg.SOPInstanceUID for uid, seg in segs.items()}

    workspace = workspace_of(tmp_path)  # another lab's task
    watch = PacsWatch(PacsDatastore(Pacs(pacs.dicomweb), tmp_path / "watch"), LabelIntake(workspace))
    watch.scan()
    assert workspace.collection.labelled_by_image() == {} and watch.problems == [], "what a model found is no label"


def test_what_cannot_be_meant_is_refused(task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = "http://127.0.0.1:9/dicom-web"
    line = ["segment", "--task", task, "--output", tmp_path / "out"]
    assert "does not answer" in refusal(capsys, *line, nowhere)
    assert "not chosen by Rows" in refusal(capsys, *line, f"{nowhere}?Rows=5")
    assert "segmented alone" in refusal(capsys, *line, nowhere, "x.nii.gz")
    assert "--store is for a PACS" in refusal(capsys, *line, "x.nii.gz", "--store")
    assert not (tmp_path / "out").exists()
