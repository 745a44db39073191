"""The whole loop in OHIF: a real Chromium, a real PACS and the real server, worked with the mouse."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client import DICOMwebClient

from fewsam.images.dicomseg import read_seg
from fewsam.images.volume import Volume, load_volume
from fewsam.synthetic.phantom import write_dataset
from helpers.browser import need_chromium, open_browser, pictures_of, start_pacs
from helpers.person import Person
from helpers.server_harness import Server

STRUCTURES = ("liver", "kidney_right")
DRAWN = (8, 15, 22)
ELSEWHERE = 18  # a slice that nobody draws on, for the pictures
SHAPE = (72, 57, 32)
pytestmark = pytest.mark.timeout(1500)


class Clinic:
    """A PACS with the sample scans, the server on it, and what is true of the first CT."""

    def __init__(self, kind: str, folder: Path) -> None:
        write_dataset(folder / "samples", patients=2, shape=SHAPE)
        self.pacs = start_pacs(kind, folder, folder / "samples" / "dicom")
        self.ct: Volume = load_volume(folder / "samples" / "dicom" / "ct-patient01")
        header = pydicom.dcmread(folder / "samples" / "dicom" / "ct-patient01" / "slice001.dcm")
        self.study, self.series = str(header.StudyInstanceUID), str(header.SeriesInstanceUID)
        labels = load_volume(folder / "samples" / "truth" / "ct" / "patient01.nii.gz").slices
        self.truth = {name: labels == value for name, value in (("liver", 1), ("kidney_right", 3))}
        self.all_of_it = kind == "embedded"  # on the other PACS the loop has no training, which asks nothing of a PACS
        conf = {"labels": ",".join(STRUCTURES), "train_seconds": 200, "steps": 60}
        self.server = Server(folder, self.pacs.dicomweb, conf)

    @property
    def client(self) -> DICOMwebClient:
        return DICOMwebClient(self.pacs.dicomweb)

    def segs(self) -> list[pydicom.Dataset]:
        """All DICOM SEG objects in the PACS."""
        found = self.client.search_for_series(search_filters={"Modality": "SEG"})
        return [
            data
            for entry in found
            for data in self.client.retrieve_series(entry["0020000D"]["Value"][0], entry["0020000E"]["Value"][0])
        ]

    def unsure(self) -> np.ndarray:
        """(Z,) what the strip beside the slices shows: 0 labelled, 1 least sure."""
        state = requests.get(f"{self.server.url}/fewsam/state", params={"image": self.series}, timeout=30).json()
        return np.array(state["image"]["uncertainty"])

    def iou(self, voxels: np.ndarray, drawn: Sequence[int]) -> float:
        """Mean over the structures, on slices that nobody drew."""
        rest = np.setdiff1d(np.arange(len(voxels)), drawn)
        scores = []
        for value, name in enumerate(STRUCTURES, start=1):
            shown, true = voxels[rest] == value, self.truth[name][rest]
            scores.append((shown & true).sum() / (shown | true).sum())
        return float(np.mean(scores))


@pytest.fixture(params=["embedded", pytest.param("orthanc", marks=pytest.mark.slow)])
def clinic(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Clinic]:
    need_chromium()
    clinic = Clinic(request.param, tmp_path)
    try:
        with clinic.server:
            yield clinic
    finally:
        clinic.server.stop()
        clinic.pacs.stop()


def test_the_loop_with_the_mouse(clinic: Clinic, request: pytest.FixtureRequest) -> None:
    width, spacing = clinic.ct.slices.shape[2], clinic.ct.geometry.spacing[1]
    pictures = pictures_of(request.node.callspec.id)
    with open_browser() as context:
        me = Person(context.new_page(), clinic.server.url, pictures)
        me.choose_study("Phantom, One", "CT")
        me.picture("1-open")

        # Draw, and take a stroke back.
        me.tool("brush")
        for k in DRAWN:
            me.go_to(k)
            for name in STRUCTURES:
                me.structure(name)
                me.paint(clinic.truth[name][k], k, spacing)
        me.picture("2-drawn")
        drawn = me.voxels(width)
        for value, name in enumerate(STRUCTURES, start=1):  # the hand does not shake
            shown, true = drawn[list(DRAWN)] == value, clinic.truth[name][list(DRAWN)]
            assert (shown & true).sum() > 0.85 * (shown | true).sum()
        me.structure("liver")
        me.go_to(DRAWN[1])
        me.paint(clinic.truth["kidney_right"][DRAWN[1]], DRAWN[1], spacing)
        spoiled = me.voxels(width)
        assert (spoiled != drawn).any()
        me.undo(drawn)
        assert sorted(set(np.flatnonzero(drawn.any(axis=(1, 2))))) == sorted(DRAWN)

        # Submit: counts, and the DICOM SEG in the PACS, pixel by pixel.
        me.click("submit")
        assert "3 slices submitted" in me.wait_message("submitted")
        me.page.wait_for_function("document.querySelector('#fewsam-classes').textContent.includes('2 / 2')")
        assert me.counts() == {"liver": "3 / 3", "kidney_right": "2 / 2"}
        [seg] = clinic.segs()
        stored = masks_of(seg, clinic.ct)
        assert set(stored) == set(STRUCTURES)
        for value, name in enumerate(STRUCTURES, start=1):
            assert np.array_equal(stored[name], drawn == value)
        assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == clinic.series
        codes = [item.SegmentedPropertyTypeCodeSequence[0].CodeValue for item in seg.SegmentSequence]
        assert codes == ["10200004", "64033007"]  # SNOMED CT: liver, kidney
        me.picture("3-submitted")

        # Segment: untrained, and says so; slices drawn by hand stay.
        me.click("segment")
        assert "Untrained answer, from 3 labelled slices." in me.wait_message("ntrained answer")
        first = me.voxels(width)
        assert np.array_equal(first[list(DRAWN)], drawn[list(DRAWN)])
        assert (first > 0).sum() > 3 * (drawn > 0).sum()
        me.go_to(ELSEWHERE)
        me.picture("4-untrained")

        # Correct with points: where the truth and what is shown differ most.
        k = 14
        me.go_to(k)
        me.structure("liver")
        wrong = [clinic.truth["liver"][k] & (first[k] != 1), (first[k] == 1) & ~clinic.truth["liver"][k]]
        kind = int(wrong[1].sum() > wrong[0].sum())
        row, col = deepest(wrong[kind])
        me.tool(("include", "exclude")[kind])
        me.click_voxel(col, row, k)
        me.wait_message("1 point on slice")
        clicked = me.voxels(width)
        assert (clicked[k, row, col] == 1) == (kind == 0)
        others = np.arange(len(clicked)) != k
        assert np.array_equal(clicked[others], first[others])
        me.picture("5-points")
        me.tool("brush")
        me.click("submit")
        me.wait_message("1 slice submitted")
        me.page.wait_for_selector("#fewsam-curve circle")
        assert len(clinic.segs()) == 2

        # Draw anew the two slices with structures that the strip shows as least sure, far from what is labelled.
        shows = np.any([mask.any(axis=(1, 2)) for mask in clinic.truth.values()], axis=0)
        corrected = []
        for _ in range(2 if clinic.all_of_it else 0):
            near = np.abs(np.subtract.outer(np.arange(len(first)), (*DRAWN, k, ELSEWHERE, *corrected))).min(axis=1) < 3
            unsure = np.where(shows & ~near, clinic.unsure(), 0.0)
            corrected.append(int(unsure.argmax()))
            me.go_to(corrected[-1])
            me.tool("eraser")
            me.erase(first.shape[1:], corrected[-1], spacing)
            me.tool("brush")
            for name in STRUCTURES:
                if clinic.truth[name][corrected[-1]].any():
                    me.structure(name)
                    me.paint(clinic.truth[name][corrected[-1]], corrected[-1], spacing)
        me.picture("6-corrected")
        if corrected:
            me.click("submit")
            me.wait_message("2 slices submitted")

        # Train, and segment again: better, on slices that nobody drew.
        if clinic.all_of_it:
            me.click("train")
            me.page.wait_for_function("document.querySelector('#fewsam-train').textContent === 'Stop training'")
            if pictures is not None:  # of a training that has got somewhere
                me.page.wait_for_timeout(4000)
                me.picture("7-training")
            said = me.wait_message("Model 1 is live", "not better", "failed")
            assert "failed" not in said
            me.click("segment")
            me.wait_message("labelled slices")
        second, counts = me.voxels(width), me.counts()
        untrained, trained = (clinic.iou(voxels, (*DRAWN, k, *corrected)) for voxels in (first, second))
        if clinic.all_of_it:
            print(f"IoU of the slices nobody drew: {untrained:.3f} untrained, {trained:.3f} after: {said}")
        me.go_to(ELSEWHERE)
        me.picture("8-trained")

        # Next slice: in this study or another one.
        me.click("next")
        me.wait_message("would teach most")
        me.page.wait_for_timeout(1500)
        me.wait_ready()
        me.picture("9-next")

        # Reload the page, restart the server: what was submitted is there.
        clinic.server.stop()
        clinic.server.start()
        again = Person(context.new_page(), clinic.server.url, pictures)
        again.open_study(clinic.study)
        kept = again.voxels(width)
        assert np.array_equal(kept[list(DRAWN)], drawn[list(DRAWN)])
        assert np.array_equal(kept[k], second[k])
        assert again.counts() == counts
        again.go_to(DRAWN[0])
        again.picture("10-restarted")
        assert me.errors == [] and again.errors == []
    assert untrained > 0.4
    assert trained > untrained or not clinic.all_of_it


def masks_of(seg: pydicom.Dataset, image: Volume) -> dict[str, np.ndarray]:
    file = io.BytesIO()
    seg.save_as(file, write_like_original=False)
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"{seg.SOPInstanceUID}.dcm"
    path.write_bytes(file.getvalue())
    try:
        return read_seg(path, image.geometry)
    finally:
        path.unlink()


def deepest(mask: np.ndarray) -> tuple[int, int]:
    """Pixel (row, col) farthest inside a mask."""
    from scipy import ndimage

    row, col = np.unravel_index(ndimage.distance_transform_edt(mask).argmax(), mask.shape)
    return int(row), int(col)
