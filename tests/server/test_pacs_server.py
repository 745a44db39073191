"""The real server on a real PACS: labels become DICOM SEG and the other way round, and what goes wrong is said."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client import DICOMwebClient

from fewsam.images.dicomseg import read_seg, write_seg
from fewsam.images.volume import load_volume
from helpers.pacs_site import NAMES, Site, open_site

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("site")) as site:
        yield site


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
    _take_back(site, 11)
    site.segs()[-1].save_as(path, write_like_original=False)
    assert len(site.segs()) == before + 2, "the PACS has what is in force"
    back = read_seg(path, site.image.geometry)
    path.unlink()
    assert all(not mask[11].any() and mask[6].any() for mask in back.values())
    before = len(site.segs()) - 1
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


def _take_back(site: Site, k: int) -> None:
    where = {"image": site.uids["ct"], "slice": k}
    newest = requests.get(f"{site.server.url}/fewsam/history", params=where, timeout=60).json()[0]
    answer = requests.post(f"{site.server.url}/fewsam/unlabel", json={**where, "seen": newest["shot"]}, timeout=60)
    assert answer.status_code == 200 and "not_kept" not in answer.json()


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
