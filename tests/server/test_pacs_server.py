"""The real server on a real PACS: labels become DICOM SEG and the other way round, and what goes wrong is said."""

from __future__ import annotations

import copy
import json
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client import DICOMwebClient

from fewsam.core.processes import PacsProcess
from fewsam.images.dicomseg import read_seg, write_seg
from fewsam.images.labelwrite import write_native_masks
from fewsam.images.volume import Volume, load_volume
from fewsam.synthetic.phantom import write_dataset
from helpers.browser import start_pacs
from helpers.server_harness import Server

NAMES = ("liver", "spleen")
SHAPE = (64, 50, 20)
pytestmark = pytest.mark.timeout(600)


class Site:
    """A PACS with three scans and the server on it; ``ct`` and ``mr`` are patient 1, ``other`` is patient 2."""

    def __init__(self, folder: Path) -> None:
        write_dataset(folder / "samples", patients=2, shape=SHAPE)
        self.scans = folder / "samples" / "dicom"
        self.pacs: PacsProcess = start_pacs("embedded", folder, self.scans)
        self.uids = {
            name: str(pydicom.dcmread(self.scans / scan / "slice001.dcm").SeriesInstanceUID)
            for name, scan in (("ct", "ct-patient01"), ("mr", "mr-patient01"), ("other", "ct-patient02"))
        }
        self.image: Volume = load_volume(self.scans / "ct-patient01", axis="2")
        self.truth = {
            "ct": load_volume(folder / "samples" / "truth" / "ct" / "patient01.nii.gz").slices,
            "other": load_volume(folder / "samples" / "truth" / "ct" / "patient02.nii.gz").slices,
        }
        self.server = Server(folder, self.pacs.dicomweb, {"labels": ",".join(NAMES), "precompute": "false"})

    def put(self, name: str, voxels: np.ndarray, info: list[dict[str, Any]] | None = None) -> requests.Response:
        """Submit (Z, H, W) values as the panel does."""
        sent = self.image.geometry.to_native(voxels.astype(np.uint8)).tobytes(order="F")
        info = info or [{"name": label, "idx": value} for value, label in enumerate(NAMES, 1)]
        return requests.put(
            f"{self.server.url}/datastore/label",
            params={"image": self.uids.get(name, name)},
            data={"params": json.dumps({"label_info": info, "annotator": "ann"})},
            files={"label": ("label.bin", sent)},
            timeout=60,
        )

    def drawn(self, slices: tuple[int, ...], name: str = "ct") -> np.ndarray:
        chosen = np.isin(np.arange(SHAPE[2]), slices)[:, None, None]
        return np.where(chosen & np.isin(self.truth[name], (1, 2)), self.truth[name], 0)

    def state(self, name: str = "") -> dict[str, Any]:
        query = {"image": self.uids[name]} if name else {}
        return dict(requests.get(f"{self.server.url}/fewsam/state", params=query, timeout=30).json())

    def segs(self) -> list[pydicom.Dataset]:
        client = DICOMwebClient(self.pacs.dicomweb)
        return [
            data
            for entry in client.search_for_series(search_filters={"Modality": "SEG"})
            for data in client.retrieve_series(entry["0020000D"]["Value"][0], entry["0020000E"]["Value"][0])
        ]

    def counts(self) -> dict[str, int]:
        return {one["name"]: one["slices"] for one in self.state()["structures"]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    try:
        with site.server:
            yield site
    finally:
        site.pacs.stop()


def framed(answer: requests.Response) -> tuple[dict[str, Any], np.ndarray]:
    assert answer.status_code == 200, answer.text
    length = struct.unpack("<I", answer.content[:4])[0]
    return json.loads(answer.content[4 : 4 + length]), np.frombuffer(answer.content[4 + length :], np.uint8)


def test_all_modalities_are_listed_and_the_proxy_passes_the_query(site: Site) -> None:
    listed = requests.get(f"{site.server.url}/datastore/?output=all", timeout=30).json()["objects"]
    assert set(listed) == set(site.uids.values())
    proxy = f"{site.server.url}/proxy/dicom"
    assert len(requests.get(f"{proxy}/qido/studies", params={"PatientName": "*Two*"}, timeout=30).json()) == 1
    assert len(requests.get(f"{proxy}/qido/studies", timeout=30).json()) == 3
    away = requests.get(f"{proxy}/wado/%2e%2e/%2e%2e/secret", timeout=30)
    assert away.status_code in (400, 404)


def test_a_label_is_a_seg_by_name_and_an_empty_or_strange_one_is_refused(site: Site) -> None:
    before = len(site.segs())
    voxels = site.drawn((6, 11))
    values = {"liver": 4, "spleen": 2}  # values that skip, in another order than the names
    sent = np.select([voxels == 1, voxels == 2], [4, 2])
    answer = site.put("ct", sent, [{"name": name, "idx": value} for name, value in values.items()])
    assert answer.status_code == 200 and answer.json()["added"] == [6, 11] and "not_kept" not in answer.json()
    assert len(site.segs()) == before + 1
    again = site.put("ct", sent, [{"name": name, "idx": value} for name, value in values.items()])
    assert again.status_code == 200 and again.json()["added"] == []
    assert len(site.segs()) == before + 1, "nothing new makes no new series"
    seg = site.segs()[-1]
    assert seg.SeriesDescription and seg.ContentCreatorName == "ann"
    assert seg.StudyInstanceUID == pydicom.dcmread(site.scans / "ct-patient01" / "slice001.dcm").StudyInstanceUID
    assert seg.SeriesDate and seg.SeriesTime and seg.ContentDate and seg.ContentTime
    path = site.scans / "back.dcm"
    seg.save_as(path, write_like_original=False)
    back = read_seg(path, site.image.geometry)
    path.unlink()
    for value, name in enumerate(NAMES, 1):
        assert np.array_equal(back[name], voxels == value)
    assert site.state("ct")["image"]["labelled"] == [6, 11]
    assert requests.get(f"{site.server.url}/datastore/", timeout=30).json()["completed"] == 1  # at once

    empty = site.put("ct", np.zeros_like(voxels))
    assert empty.status_code == 422 and "empty" in empty.json()["detail"]
    unknown = site.put("1.2.3.4", voxels)
    assert unknown.status_code == 404 and "1.2.3.4" in unknown.json()["detail"]
    short = requests.put(f"{site.server.url}/datastore/label", params={"image": site.uids["ct"]},
                         files={"label": ("label.bin", b"123")}, timeout=30)  # fmt: skip
    assert short.status_code == 422 and "bytes do not fit" in short.json()["detail"]
    strange = site.put("ct", voxels, [{"name": "brain", "idx": 1}, {"name": "spleen", "idx": 2}])
    assert strange.status_code == 422 and "brain" in strange.json()["detail"]
    assert len(site.segs()) == before + 1


def test_the_panel_is_answered_on_the_stored_grid(site: Site) -> None:
    uid = site.uids["ct"]
    site.put("ct", site.drawn((6, 11)))
    head, voxels = framed(requests.post(f"{site.server.url}/fewsam/segment", params={"image": uid}, timeout=200))
    shown = site.image.geometry.to_slices(voxels.reshape(site.image.geometry.shape, order="F"))
    assert head["pasted"] == [6, 11] and not head["trained"]
    assert np.array_equal(shown[[6, 11]], site.drawn((6, 11))[[6, 11]])
    head, kept = framed(requests.get(f"{site.server.url}/fewsam/labelmap", params={"image": uid}, timeout=30))
    assert np.array_equal(kept, voxels) and head["drawn"] == [6, 11]
    state = site.state("ct")["image"]
    assert state["slices"] == SHAPE[2] and len(state["uncertainty"]) == SHAPE[2] and state["uncertainty"][6] == 0

    body = {"image": uid, "slice": 8, "label": "liver", "include": [[5, 5]]}
    _, planes = framed(requests.post(f"{site.server.url}/fewsam/clicks", json=body, timeout=60))
    mask = planes.reshape(2, site.image.slices.shape[1], -1)[0]
    assert mask[5, 5] == 1
    for change, says in (({"slice": 99}, "slice 99"), ({"include": [[500, 5]]}, "outside"),
                         ({"label": "brain"}, "no labelled slice"), ({"include": []}, "no click")):  # fmt: skip
        refused = requests.post(f"{site.server.url}/fewsam/clicks", json={**body, **change}, timeout=60)
        assert refused.status_code in (400, 422) and says in refused.json()["detail"]

    offer = requests.post(f"{site.server.url}/fewsam/next", json={"client_id": "me"}, timeout=60).json()
    assert offer["id"] in site.uids.values() and offer["study"] and 0 <= offer["slice"] < SHAPE[2]


def test_the_panel_overwrites_nobody_and_keeps_what_overlaps(site: Site) -> None:
    """Slices of the last patient, which other tests leave alone below 8."""
    uid, image = site.uids["other"], load_volume(site.scans / "ct-patient02", axis="2")
    blank = np.zeros(image.slices.shape, np.uint8)

    def put(
        values: np.ndarray, drawn: dict[int, int], replace: tuple[int, ...] = (), empty: tuple[int, ...] = ()
    ) -> requests.Response:
        params = {"label_info": [{"name": name, "idx": n} for n, name in enumerate(NAMES, 1)], "client_id": "me"}
        return requests.put(
            f"{site.server.url}/fewsam/label",
            params={"image": uid},
            data={"params": json.dumps({**params, "drawn": drawn, "replace": replace, "empty": empty})},
            files={"label": ("label.bin", image.geometry.to_native(values).tobytes(order="F"))},
            timeout=60,
        )

    mine, others = blank.copy(), blank.copy()
    mine[2, 10:14, 10:14], others[2, 20:24, 20:24], others[3, 5:9, 5:9] = 1, 2, 1
    first = put(mine, {2: 0})
    assert first.status_code == 200, first.text
    first = first.json()
    assert first["added"] == [2]
    asked = put(others, {2: 0, 3: 0})
    assert asked.status_code == 409 and asked.json()["slices"] == [2] and "Slice 3" in asked.json()["detail"]
    assert site.state("other")["image"]["submissions"] == first["submissions"]  # nothing of it is stored
    assert put(others, {2: first["submissions"]["2"]}).json()["superseded"] == [2]  # it was drawn over that one
    _, voxels = framed(requests.get(f"{site.server.url}/fewsam/labelmap", params={"image": uid}, timeout=30))
    now = image.geometry.to_slices(voxels.reshape(image.geometry.shape, order="F"))
    assert np.array_equal(now[2], others[2])  # the structure that it draws nowhere does not stay
    assert put(mine, {2: 0}, (2,)).json()["replaced"] == [2]

    assert put(blank, {3: 0}).status_code == 422  # painted, and taken back
    assert put(blank, {}).status_code == 422
    assert put(blank, {99: 0}).status_code == 400
    assert requests.put(f"{site.server.url}/fewsam/label", params={"image": "1.2.3"}, files={"label": b"x"},
                        timeout=60).status_code == 404  # fmt: skip
    seen = site.state("other")["image"]["submissions"]["2"]
    asked = put(blank, {2: seen})  # a label would go
    assert asked.status_code == 409 and asked.json()["empty"] == [2] and "Slice 3" in asked.json()["detail"]
    assert site.state("other")["image"]["submissions"]["2"] == seen
    assert put(blank, {2: seen}, empty=(2,)).json()["cleared"] == [2]  # erased by hand: nothing is there
    head, voxels = framed(requests.get(f"{site.server.url}/fewsam/labelmap", params={"image": uid}, timeout=30))
    assert not voxels.any() and head["overlaps"] == []

    # Two structures that share pixels, which the viewer cannot show: both stay where nobody draws.
    both = {name: np.zeros(image.slices.shape, bool) for name in NAMES}
    both["liver"][4, 10:20, 10:20] = both["spleen"][4, 15:25, 15:25] = True
    write_native_masks(
        site.scans / "both.seg.nrrd",
        {name: image.geometry.to_native(mask) for name, mask in both.items()},
        image.geometry.affine,
    )
    with (site.scans / "both.seg.nrrd").open("rb") as file:
        requests.put(f"{site.server.url}/datastore/label", params={"image": uid}, files={"label": file}, timeout=60)
    (site.scans / "both.seg.nrrd").unlink()
    head, voxels = framed(requests.get(f"{site.server.url}/fewsam/labelmap", params={"image": uid}, timeout=30))
    assert head["overlaps"] == [4]
    shown = image.geometry.to_slices(voxels.reshape(image.geometry.shape, order="F")).copy()
    shown[4, 0:3, 0:3] = 1
    shown[4, 16:18, 16:18] = 0  # a hole in both
    before = {str(data.SOPInstanceUID) for data in site.segs()}
    answer = put(shown, {4: head["submissions"]["4"]}).json()
    assert answer["superseded"] == [4] and answer["overlaps"] == [4]
    path = site.scans / "both.dcm"
    (new,) = (data for data in site.segs() if str(data.SOPInstanceUID) not in before)
    new.save_as(path, write_like_original=False)
    stored = read_seg(path, image.geometry)
    path.unlink()
    for name, mask in both.items():
        mask[4, 16:18, 16:18] = False
        if name == "liver":
            mask[4, 0:3, 0:3] = True
        assert np.array_equal(stored[name][4], mask[4]), name


def test_points_of_monai_labels_own_clients(site: Site) -> None:
    uid, url = site.uids["ct"], f"{site.server.url}/infer/points"
    site.put("ct", site.drawn((6, 11)))

    def ask(params: dict[str, Any]) -> requests.Response:
        params = {"result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": False, **params}
        return requests.post(
            url, params={"image": uid, "output": "all"}, data={"params": json.dumps(params)}, timeout=60
        )

    deepedit = ask({"liver": [[20, 15, 8]], "spleen": [], "background": [[2, 2, 8]]})
    deepgrow = ask({"foreground": [[20, 15, 8]], "background": [[2, 2, 8]], "label": "liver"})
    for answer in (deepedit, deepgrow):
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("multipart/form-data")
        payload = answer.content.split(b"NRRD", 1)[1].split(b"\n\n", 1)[1][: int(np.prod(SHAPE))]
        voxels = np.frombuffer(payload, np.uint8).reshape(SHAPE, order="F")
        assert voxels[20, 15, 8] == 1 and voxels[2, 2, 8] == 0
    assert "which structure" in ask({"foreground": [[20, 15, 8]]}).json()["detail"]
    assert "outside" in ask({"liver": [[200, 15, 8]]}).json()["detail"]
    assert "no point" in ask({}).json()["detail"]


def test_a_seg_of_another_tool_becomes_a_label_once(site: Site, tmp_path: Path) -> None:
    before = site.counts()
    masks = {name.upper(): site.drawn((5, 9), "other") == value for value, name in enumerate(NAMES, 1)}
    image = load_volume(site.scans / "ct-patient02", axis="2")
    write_seg(tmp_path / "seg.dcm", masks, image.geometry, site.scans / "ct-patient02", description="another tool")
    DICOMwebClient(site.pacs.dicomweb).store_instances([pydicom.dcmread(tmp_path / "seg.dcm")])
    site.server.wait(lambda: {5, 9} <= set(site.state("other")["image"]["labelled"]), "the label from the PACS", 60)
    taken = site.counts()
    assert {name: taken[name] - before[name] for name in NAMES} == {
        name: sum(mask.any(axis=(1, 2))) for name, mask in zip(NAMES, masks.values(), strict=True)
    }
    time.sleep(12)  # longer than two looks at the PACS
    assert site.counts() == taken
    [record] = (site.server.data / "pacs").glob("segs.json")  # what a restart goes by
    assert "taken" in json.loads(record.read_text()).values()


def test_a_seg_that_cannot_be_taken_is_reported(site: Site, tmp_path: Path) -> None:
    mask = site.drawn((4,)) > 0
    write_seg(tmp_path / "seg.dcm", {"unheard of": mask}, site.image.geometry, site.scans / "ct-patient01",
              description="strange names")  # fmt: skip
    DICOMwebClient(site.pacs.dicomweb).store_instances([pydicom.dcmread(tmp_path / "seg.dcm")])
    problems = site.server.wait(lambda: site.state()["problems"], "a problem", 60)
    assert "strange names" in problems[-1]["file"] and "unheard of" in problems[-1]["problem"]


def _names_an_unknown_series_first(data: pydicom.Dataset) -> None:
    strange = copy.deepcopy(data.ReferencedSeriesSequence[0])
    strange.SeriesInstanceUID = "1.2.3.999"
    data.ReferencedSeriesSequence.insert(0, strange)


def _names_instances_alone(data: pydicom.Dataset) -> None:
    del data.ReferencedSeriesSequence


def _names_its_space_alone(data: pydicom.Dataset) -> None:
    for keyword in ("ReferencedSeriesSequence", "SourceImageSequence"):
        if keyword in data:
            del data[keyword]
    for group in data.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence


def test_a_seg_finds_its_image_by_whatever_it_names(site: Site, tmp_path: Path) -> None:
    image = load_volume(site.scans / "ct-patient02", axis="2")
    file = tmp_path / "seg.dcm"
    client = DICOMwebClient(site.pacs.dicomweb)

    def store(z: int, change: Callable[[pydicom.Dataset], None]) -> None:
        mask = np.zeros(image.slices.shape[:3], bool)
        mask[z, 20:30, 10:25] = True
        write_seg(file, {NAMES[0]: mask}, image.geometry, site.scans / "ct-patient02", description=change.__name__)
        data = pydicom.dcmread(file)
        change(data)
        client.store_instances([data])

    changes = {15: _names_an_unknown_series_first, 16: _names_instances_alone, 17: _names_its_space_alone}
    for z, change in changes.items():
        store(z, change)
    site.server.wait(lambda: set(changes) <= set(site.state("other")["image"]["labelled"]), "three labels", 90)

    def of_another_patient(data: pydicom.Dataset) -> None:
        _names_its_space_alone(data)
        data.FrameOfReferenceUID = "1.2.3.4.5"

    store(18, of_another_patient)
    found = site.server.wait(
        lambda: [one for one in site.state()["problems"] if "of_another_patient" in one["file"]], "a problem", 60
    )
    assert "names no image" in found[0]["problem"] and len(found) == 1
    assert 18 not in site.state("other")["image"]["labelled"]


def test_while_the_pacs_is_away_labels_are_kept_and_sent_later(site: Site) -> None:
    site.put("ct", site.drawn((6, 11)))
    before = len(site.segs())
    site.pacs.stop()
    try:
        answer = site.put("ct", site.drawn((6, 11, 14)))
        assert answer.status_code == 200 and 14 in answer.json()["added"] and answer.json()["waiting_for_pacs"] == 1
        site.server.wait(lambda: "does not answer" in site.state()["pacs"]["problem"], "word of the PACS", 30)
        proxied = requests.get(f"{site.server.url}/proxy/dicom/qido/studies", timeout=30)
        assert proxied.status_code == 502 and "does not answer" in proxied.json()["detail"]
    finally:
        site.pacs.start()
    site.server.wait(lambda: site.state()["pacs"] == {"problem": "", "waiting": 0}, "the label in the PACS", 60)
    assert len(site.segs()) == before + 1


def test_the_viewer_is_given_our_mode(site: Site) -> None:
    config = requests.get(f"{site.server.url}/ohif/app-config.js", timeout=30)
    assert config.headers["cache-control"] == "no-store"
    assert "routerBasename: '/ohif/'" in config.text and "Few-shot segmentation" in config.text
    assert "<!doctype html" in requests.get(f"{site.server.url}/ohif/", timeout=30).text.lower()
