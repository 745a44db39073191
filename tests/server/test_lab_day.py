"""A day in a lab on the real server and a real PACS: the worklist, two readers of a slice, and results to take away."""

from __future__ import annotations

import csv
import io
import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client import DICOMwebClient
from pydicom.uid import generate_uid
from scipy import ndimage

from fewsam.core.metrics import dice
from fewsam.core.processes import PacsProcess
from fewsam.images.dicomseg import read_seg
from fewsam.images.volume import Volume, load_volume
from fewsam.server.guard.person import HEADER
from fewsam.server.storage.pacs import FRESH_SECONDS
from fewsam.synthetic.phantom import write_dataset
from helpers.browser import start_pacs
from helpers.server_harness import Server

NAMES = ("liver", "spleen")
SHAPE = (64, 50, 20)
pytestmark = pytest.mark.timeout(600)


class Lab:
    """A PACS with a CT and an MR of one patient and a CT of another, and the server on it."""

    def __init__(self, folder: Path) -> None:
        write_dataset(folder / "samples", patients=2, shape=SHAPE)
        scans = folder / "samples" / "dicom"
        self.pacs: PacsProcess = start_pacs("embedded", folder, scans)
        self.image: Volume = load_volume(scans / "ct-patient01", axis="2")
        self.uid = str(pydicom.dcmread(scans / "ct-patient01" / "slice001.dcm").SeriesInstanceUID)
        truth = load_volume(folder / "samples" / "truth" / "ct" / "patient01.nii.gz").slices
        self.truth = np.where(truth <= len(NAMES), truth, 0).astype(np.uint8)
        counts = (self.truth == 1).sum(axis=(1, 2)) * (self.truth == 2).any(axis=(1, 2))
        self.z = int(counts.argmax())  # a slice with both structures
        self.server = Server(folder, self.pacs.dicomweb, {"labels": ",".join(NAMES), "precompute": "false"})

    def ask(self, method: str, path: str, who: str = "", **more: Any) -> requests.Response:
        headers = {HEADER: who} if who else {}
        return requests.request(method, f"{self.server.url}/fewsam/{path}", headers=headers, timeout=120, **more)

    def series(self) -> dict[str, dict[str, Any]]:
        """The worklist's series by description and patient."""
        studies = self.ask("GET", "worklist").json()["studies"]
        return {
            f"{s['patient']} {one['modality']}": {**one, "study": s["study"]} for s in studies for one in s["series"]
        }

    def k(self, z: int) -> int:
        return self.image.depth - 1 - z if self.image.geometry.flips[0] else z

    def submit(self, image: str, who: str, values: np.ndarray, drawn: dict[int, int], **more: Any) -> requests.Response:
        """Submit (Z, H, W) values as the panel does; ``drawn``: canonical slice -> submission it was drawn over."""
        info = [{"name": name, "idx": value} for value, name in enumerate(NAMES, start=1)]
        params = {"label_info": info, "client_id": "window", "drawn": {self.k(z): n for z, n in drawn.items()}, **more}
        voxels = self.image.geometry.to_native(values.astype(np.uint8)).tobytes(order="F")
        data, files = {"params": json.dumps(params)}, {"label": ("label.bin", voxels)}
        return self.ask("PUT", "label", who, params={"image": image}, data=data, files=files)

    def only(self, z: int, shift: int = 0) -> np.ndarray:
        """The truth of one slice, shifted sideways."""
        values = np.zeros_like(self.truth)
        values[z] = np.roll(self.truth[z], shift, axis=1)
        return values


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    site = Lab(tmp_path_factory.mktemp("lab"))
    try:
        site.server.start()
        yield site
    finally:
        site.server.stop()
        site.pacs.stop()


def test_the_worklist_follows_a_series_from_nothing_to_accepted(lab: Lab) -> None:
    before = lab.series()
    assert len(before) == 3
    assert {one["state"] for one in before.values()} == {"not started"}
    name = next(key for key, one in before.items() if key.endswith("CT") and one["image"] != lab.uid)
    image = before[name]["image"]
    assert lab.ask("GET", "state", "nora", params={"image": image}).json()["person"] == "nora"
    assert lab.series()[name]["people"] == ["nora"]

    assert lab.submit(image, "nora", lab.only(lab.z), {lab.z: 0}).status_code == 200
    now = lab.series()[name]
    assert (now["state"], now["labelled_slices"], now["labelled_by"], now["mark"]) == ("in progress", 1, "nora", 0)

    def mark(route: str, who: str, state: str, **more: Any) -> requests.Response:
        return lab.ask("POST", f"worklist/{route}", who, json={"image": image, "state": state, **more})

    early = mark("review", "rita", "accepted")
    assert (early.status_code, "marked as done" in early.text) == (422, True)
    assert mark("mark", "nora", "accepted").status_code == 400
    done = mark("mark", "nora", "done", seen=0)
    assert done.json()["state"] == "done"
    late = mark("mark", "olaf", "unsure", seen=0)
    assert (late.status_code, "done by nora" in late.text) == (409, True)
    offered = lab.ask("POST", "next", json={"client_id": "window"}).json()
    assert offered["id"] != image  # nobody is sent to what is done

    assert mark("review", "rita", "sent back", note="The dome is missing.").json()["state"] == "sent back"
    now = lab.series()[name]
    assert (now["state"], now["note"], now["marked_by"]) == ("sent back", "The dome is missing.", "rita")
    mark("mark", "nora", "done")
    shown = lab.ask("GET", "state", params={"image": image}).json()["image"]["submissions"]
    assert lab.submit(image, "olaf", lab.only(lab.z + 1), {lab.z + 1: 0}).status_code == 200
    unseen = mark("review", "rita", "accepted", labels=shown)  # she looks at what was there before
    assert (unseen.status_code, "by olaf" in unseen.text) == (409, True)
    shown = lab.ask("GET", "state", params={"image": image}).json()["image"]["submissions"]
    assert mark("review", "rita", "accepted", labels=shown).status_code == 200
    assert lab.series()[name]["state"] == "accepted"
    listed = lab.ask("GET", "worklist").json()
    assert (listed["counts"]["accepted"], listed["counts"]["not started"], listed["can_review"]) == (1, 2, True)
    said = lab.ask("GET", "worklist/history", params={"image": image}).json()
    assert [(one["state"], one["by"]) for one in said] == [
        ("accepted", "rita"), ("done", "nora"), ("sent back", "rita"), ("done", "nora")]  # fmt: skip
    assert lab.ask("POST", "worklist/mark", json={"image": "1.2.3", "state": "done"}).status_code == 404


def test_two_readers_of_a_slice_are_kept_side_by_side_with_their_dice(lab: Lab, tmp_path: Path) -> None:
    series = lab.series()
    image = next(one["image"] for name, one in series.items() if name.endswith("MR"))
    z, mine, hers = lab.z, lab.only(lab.z), lab.only(lab.z, shift=2)
    first = lab.submit(image, "nora", mine, {z: 0}).json()["submission"]
    asked = lab.submit(image, "olaf", hers, {z: 0})
    assert (asked.status_code, asked.json()["who"]) == (409, "nora")
    answer = lab.submit(image, "olaf", hers, {z: 0}, beside=[lab.k(z)]).json()
    assert (answer["beside"], answer["superseded"], answer["replaced"]) == ([lab.k(z)], [], [])
    assert answer["submissions"] == {str(lab.k(z)): first}

    (found,) = lab.ask("GET", "readings", params={"image": image}).json()
    (reading,) = found["readings"]
    assert (found["slice"], found["in_force"]["annotator"], reading["annotator"]) == (lab.k(z), "nora", "olaf")
    expected = {name: dice(mine[z] == value, hers[z] == value) for value, name in enumerate(NAMES, start=1)}
    assert reading["dice"] == pytest.approx(expected, abs=1e-3)
    assert all(0 < value < 1 for value in expected.values())

    body = lab.ask("GET", "reading", params={"image": image, "reading": reading["reading"]}).content
    (length,) = struct.unpack("<I", body[:4])
    head = json.loads(body[4 : 4 + length])
    assert [one["name"] for one in head["structures"]] == list(NAMES)  # what the values mean
    plane = np.frombuffer(body[4 + length :], np.uint8).reshape(SHAPE[:2], order="F")
    expected_plane = lab.image.geometry.to_native(hers)[:, :, lab.k(z)]
    assert np.array_equal(plane, expected_plane)
    assert lab.ask("GET", "reading", params={"image": image, "reading": 99}).status_code == 404
    # What other programs get is still the label in force.
    voxels = lab.ask("GET", "result", params={"image": image, "format": "nii.gz"}).content
    (file := tmp_path / "force.nii.gz").write_bytes(voxels)
    assert np.array_equal(np.asarray(nib.load(file).dataobj), lab.image.geometry.to_native(mine))
    kept = requests.get(f"{lab.server.url}/datastore/label", params={"label": image, "tag": "final"}, timeout=60)
    (file := tmp_path / "force.seg.nrrd").write_bytes(kept.content)
    layers, _ = nrrd.read(str(file))
    assert np.array_equal(layers[0], lab.image.geometry.to_native(mine) == 1)

    # A reviewer puts the other one in force, under the name of who drew it; the first one stays in the history.
    def adopt(seen: int) -> requests.Response:
        body = {"image": image, "reading": reading["reading"], "seen": seen}
        return lab.ask("POST", "reading/adopt", "rita", json=body)

    assert adopt(first + 99).status_code == 409
    assert lab.ask("GET", "history", params={"image": image, "slice": lab.k(z)}).json()[0]["annotator"] == "nora"
    assert adopt(first).json()["slice"] == lab.k(z)
    said = lab.ask("GET", "history", params={"image": image, "slice": lab.k(z)}).json()
    assert [(one["annotator"], one["current"], one["source"]) for one in said] == [
        ("olaf", True, "rest:reviewed by rita"), ("nora", False, "rest:final")]  # fmt: skip
    assert lab.ask("GET", "readings", params={"image": image}).json() == []
    voxels = lab.ask("GET", "result", params={"image": image, "format": "nii.gz"}).content
    (file := tmp_path / "adopted.nii.gz").write_bytes(voxels)
    assert np.array_equal(np.asarray(nib.load(file).dataobj), lab.image.geometry.to_native(hers))
    kept = requests.get(f"{lab.server.url}/datastore/label", params={"label": image, "tag": "final"}, timeout=60)
    (file := tmp_path / "adopted.seg.nrrd").write_bytes(kept.content)
    layers, _ = nrrd.read(str(file))
    assert np.array_equal(layers[0], lab.image.geometry.to_native(hers) == 1)


def test_results_leave_as_nifti_nrrd_and_dicom_seg_on_the_voxels_that_were_drawn(lab: Lab, tmp_path: Path) -> None:
    image = lab.uid
    nothing = lab.ask("GET", "result", params={"image": image})
    assert (nothing.status_code, "segment it" in nothing.text) == (404, True)
    z = lab.z
    assert lab.submit(image, "nora", lab.only(z), {z: 0}).status_code == 200
    expected = lab.image.geometry.to_native(lab.only(z))

    for form in ("nii.gz", "nrrd", "seg.nrrd", "dcm"):
        answer = lab.ask("GET", "result", params={"image": image, "format": form})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-disposition"].endswith(f'fewsam.{form}"')
        file = tmp_path / f"result.{form}"
        file.write_bytes(answer.content)
        if form == "nii.gz":
            assert np.array_equal(np.asarray(nib.load(file).dataobj), expected)
        elif form == "nrrd":
            assert np.array_equal(nrrd.read(str(file))[0], expected)
        elif form == "seg.nrrd":
            layers, header = nrrd.read(str(file))
            assert [header[f"Segment{n}_Name"] for n in range(2)] == list(NAMES)
            assert all(np.array_equal(layers[n], expected == n + 1) for n in range(2))
        else:
            masks = read_seg(file, lab.image.geometry)
            for value, name in enumerate(NAMES, start=1):
                assert np.array_equal(masks[name], lab.only(z) == value)
    assert lab.ask("GET", "result", params={"image": image, "format": "stl"}).status_code == 400
    assert not list((lab.server.data / "results").glob("result-*"))  # they go once they are sent

    ml = abs(np.linalg.det(lab.image.geometry.affine[:3, :3])) / 1000
    found = lab.ask("GET", "volumes", params={"image": image}).json()
    assert (found["drawn_slices"], found["model_version"]) == (1, None)
    for value, one in enumerate(found["structures"], start=1):
        assert one["voxels"] == (expected == value).sum()
        assert one["ml"] == pytest.approx(one["voxels"] * ml, abs=2e-3)
    table = lab.ask("GET", "volumes.csv")
    assert table.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(table.text)))
    mine = {row["structure"]: row for row in rows if row["image"] == image}
    assert list(mine) == list(NAMES)
    assert float(mine["liver"]["ml"]) == found["structures"][0]["ml"]
    assert (mine["liver"]["patient"], mine["liver"]["problem"]) != ("", "x")


def test_prompts_change_their_slice_and_its_neighbours_and_leave_labelled_slices(lab: Lab) -> None:
    """The series of the test before: one slice of the liver is labelled, and nothing was served."""
    image, z = lab.uid, lab.z
    at = z + 1 if (lab.truth[z + 1] == 1).any() else z - 1
    deep = ndimage.distance_transform_edt(lab.truth[at] == 1)
    row, col = (int(n) for n in np.unravel_index(deep.argmax(), deep.shape))
    full = np.zeros(lab.truth.shape, np.uint8)
    full[at, row, col] = 1
    i, j, k = (int(n[0]) for n in np.nonzero(lab.image.geometry.to_native(full)))

    def ask(*prompts: dict[str, Any], label: str = "liver", **more: Any) -> requests.Response:
        return lab.ask("POST", "prompts", "nora", json={"image": image, "label": label, "prompts": prompts, **more})

    point = {"kind": "point", "slice": k, "points": [[i, j]]}
    answer = ask(point)
    assert answer.status_code == 200, answer.text
    (length,) = struct.unpack("<I", answer.content[:4])
    head = json.loads(answer.content[4 : 4 + length])
    planes = np.frombuffer(answer.content[4 + length :], np.uint8).reshape((*SHAPE[:2], -1), order="F")
    assert planes.shape[2] == len(head["slices"]) > 0
    assert (head["prompted"], lab.k(z) in head["slices"]) == ([k], False)
    assert planes[i, j, head["slices"].index(k)] == 1
    assert set(np.unique(planes)) <= {0, 1, 2}

    alone = ask(point, propagate=False)
    (length,) = struct.unpack("<I", alone.content[:4])
    assert json.loads(alone.content[4 : 4 + length])["slices"] == [k]
    box = {"kind": "box", "slice": k, "points": [[0, 0], [i, j]], "include": False}
    assert ask(box, point).status_code == 200
    for wrong in (
        ask(),
        ask({**point, "slice": 99}),
        ask({**point, "points": [[i, 999]]}),
        ask(point, label="nosuch"),
        ask({**box, "points": [[1, 1]]}),
    ):
        assert (400 <= wrong.status_code < 500, "Traceback" in wrong.text) == (True, False)
    assert not lab.ask("GET", "history", params={"image": image, "slice": k}).json()  # a prompt is no label


def test_a_series_that_grows_is_no_longer_accepted(lab: Lab) -> None:
    name, series = next((key, one) for key, one in lab.series().items() if key.endswith("MR"))
    image = series["image"]
    for route, state in (("mark", "done"), ("review", "accepted")):
        body = {"image": image, "state": state}
        assert lab.ask("POST", f"worklist/{route}", "rita", json=body).status_code == 200
    assert lab.series()[name]["state"] == "accepted"
    unshown = [one["image"] for key, one in lab.series().items() if key != name and one["image"] != lab.uid]
    asked = {"client_id": "reader", "image": lab.uid, "leave": True, "unshown": unshown}
    assert "id" not in lab.ask("POST", "next", json=asked).json()
    before, late = map(pydicom.dcmread, sorted((lab.pacs.folder / "mr-patient01").glob("*.dcm"))[-2:])
    late.SOPInstanceUID = late.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    late.InstanceNumber = SHAPE[2] + 1
    steps = zip(late.ImagePositionPatient, before.ImagePositionPatient, strict=True)
    late.ImagePositionPatient = [2 * here - there for here, there in steps]
    DICOMwebClient(lab.pacs.dicomweb).store_instances([late])
    time.sleep(FRESH_SECONDS + 1)
    now = lab.series()[name]
    assert now["state"] in ("not started", "in progress") and now["grown_since"]
    refused = lab.ask("POST", "worklist/review", "rita", json={"image": image, "state": "accepted"})
    assert (refused.status_code, "has changed" in refused.text) == (422, True)
    assert lab.ask("POST", "next", json=asked).json()["id"] == image  # somebody is sent there again
    assert lab.ask("POST", "worklist/mark", "nora", json={"image": image, "state": "done"}).status_code == 200
    assert (lab.series()[name]["state"], lab.series()[name]["grown_since"]) == ("done", False)
