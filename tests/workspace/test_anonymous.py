"""What an export tells of people: a marker in every identifying DICOM attribute, and none of them in what is passed on.

The attributes are those of the Basic Application Level Confidentiality Profile (DICOM PS3.15, table E.1-1), as
dicom-anonymizer lists them.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from fewsam.cli import main
from fewsam.collection.taskfile import read_task
from fewsam.core.processes import PacsProcess
from fewsam.images.volume import load_volume
from fewsam.synthetic.phantom import write_dataset
from fewsam.workspace.anonymous import anonymous, kind_of
from helpers.server_harness import Server

PROFILE = "dicomfields_2026c"
SHAPE = (64, 50, 20)
NAMES = ("liver", "spleen")
ANNOTATOR = "MARK-ANNOTATOR"
FOLDER = "MARK-FOLDER^JANE"
FREE = {"PN", "LO", "SH", "ST", "LT", "UT", "UC", "UR", "AE", "CS"}  # what takes any text


@dataclass
class Marks:
    """What must not be found: text -> the attribute that it stands in."""

    found_in: dict[str, str]

    def __contains__(self, data: bytes) -> bool:
        return bool(self.of(data))

    def of(self, data: bytes) -> list[str]:
        """Attributes of which the value is in ``data``."""
        return sorted(name for text, name in self.found_in.items() if text.encode() in data)


def profile() -> list[tuple[int, int]]:
    """Tags of the basic profile, without those of repeating groups."""
    lists = dicom_anonymization_database_selector(PROFILE)
    return sorted({(entry[0], entry[1]) for entries in lists.values() for entry in entries if len(entry) == 2})


def marked(vr: str, tag: int, number: int) -> Any:
    """A value for an attribute of this VR that is found nowhere else; None where the VR has no room for one."""
    if vr in FREE:
        return f"MARK{tag:08X}"
    if vr == "DA":
        return f"18{number // 28 % 100:02d}{number // 2800 % 12 + 1:02d}{number % 28 + 1:02d}"
    if vr == "TM":
        return f"0{number % 10}1122.9{number:05d}"
    if vr == "DT":
        return f"18010203040506.8{number:05d}"
    if vr == "UI":
        return generate_uid(entropy_srcs=["mark", str(tag)])
    if vr in ("DS", "IS"):
        return f"7{number:04d}31415"
    return f"MARK{tag:08X}".encode() if vr in ("OB", "UN") else None


def mark(folder: Path) -> Marks:
    """Put a value of its own into each attribute of the profile, in every file below ``folder``."""
    values: dict[int, tuple[str, Any]] = {}
    for number, (group, element) in enumerate(profile()):
        tag = group << 16 | element
        try:
            vr = dictionary_VR(tag).split(" or ")[-1]
        except KeyError:
            continue  # newer than the dictionary at hand
        value = marked(vr, tag, number)
        if value is not None and group > 2:
            values[tag] = (vr, value)
    found_in = {_text(value): f"{tag:08X}" for tag, (_, value) in values.items()}
    keep = {"SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"}
    for file in sorted(folder.rglob("*.dcm")):
        data = pydicom.dcmread(file)
        for tag, (vr, value) in values.items():
            keyword = pydicom.datadict.keyword_for_tag(tag)
            if keyword in keep:  # they hold the series together
                found_in[str(data[tag].value)] = keyword
            else:
                data.add_new(tag, vr, value)
        # once more where people forget to look: in a sequence, and in a private block
        item = Dataset()
        item.PatientName, item.PatientID = "MARK-NESTED", "MARK-NESTED-ID"
        data.OtherPatientIDsSequence = [item]
        data.private_block(0x0099, "MARK-CREATOR", create=True).add_new(1, "LO", "MARK-PRIVATE")
        data.save_as(file, write_like_original=False)
    nested = ("MARK-NESTED", "MARK-NESTED-ID", "MARK-CREATOR", "MARK-PRIVATE")
    return Marks({**found_in, **{text: text for text in nested}})


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def every_byte(path: Path) -> Iterator[tuple[str, bytes]]:
    """What lies in a file or below a folder: names, bytes, and what is inside of zip and gzip files."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        yield "name", str(file.relative_to(path.parent)).encode()
        if not file.is_file():
            continue
        body = file.read_bytes()
        yield file.name, body
        if file.name.endswith(".gz"):
            yield file.name, gzip.decompress(body)
        if zipfile.is_zipfile(io.BytesIO(body)):
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                for info in archive.infolist():
                    yield info.filename, info.filename.encode() + info.comment + info.extra
                    yield info.filename, archive.read(info)


@dataclass
class Site:
    """A PACS of marked images, a task trained on it through the server, and the server's log."""

    scans: Path
    marks: Marks
    server: Server
    log: bytes


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("privacy")
    write_dataset(folder / "samples", patients=1, shape=SHAPE)
    scans = folder / FOLDER
    (folder / "samples" / "dicom" / "ct-patient01").rename(scans)
    truth = load_volume(folder / "samples" / "truth" / "ct" / "patient01.nii.gz").slices
    marks = mark(scans)
    uid = str(pydicom.dcmread(scans / "slice001.dcm").SeriesInstanceUID)
    image = load_volume(scans, axis="2")
    pacs = PacsProcess(scans).start()
    conf = {"labels": ",".join(NAMES), "precompute": "false", "steps": 4, "views": 1, "fresh_views": "false",
            "input_size": 128, "detail_size": 64, "prototypes": 1, "ensemble": 1}  # fmt: skip
    server = Server(folder / "server", pacs.dicomweb, conf)
    try:
        server.start()
        drawn = np.where(np.isin(np.arange(SHAPE[2]), (8, 12))[:, None, None] & np.isin(truth, (1, 2)), truth, 0)
        sent = image.geometry.to_native(drawn.astype(np.uint8)).tobytes(order="F")
        info = [{"name": name, "idx": value} for value, name in enumerate(NAMES, 1)]
        answer = requests.put(
            f"{server.url}/datastore/label",
            params={"image": uid},
            data={"params": json.dumps({"label_info": info, "annotator": ANNOTATOR})},
            files={"label": ("label.bin", sent)},
            timeout=300,
        )
        assert answer.status_code == 200, answer.text
        for path in ("segmentation", "nosuch"):  # the second one is refused, with a line in the log
            requests.post(f"{server.url}/infer/{path}", params={"image": uid, "output": "image"}, timeout=300)
        requests.post(f"{server.url}/infer/segmentation", params={"image": uid + ".1"}, timeout=300)
        requests.post(f"{server.url}/activelearning/informative", timeout=300)
        requests.get(f"{server.url}/fewsam/state", params={"image": uid}, timeout=300)
        requests.get(f"{server.url}/proxy/dicom/wado/studies/{uid}/series/{uid}/metadata", timeout=300)
        found = {"PatientName": f"MARK{0x00100010:08X}", "PatientID": f"MARK{0x00100020:08X}"}
        searched = requests.get(f"{server.url}/proxy/dicom/qido/studies", params=found, timeout=300)
        assert len(searched.json()) == 1  # a viewer's search for a patient
        stats = server.train(timeout=900)
        assert stats.get("published"), stats
    finally:
        server.stop()
        pacs.stop()
    written = b"".join(file.read_bytes() for file in (server.app / "logs").rglob("*") if file.is_file())
    return Site(scans, marks, server, server.log.read_bytes() + written)


def export(site: Site, *arguments: str) -> None:
    assert main(["export", *arguments, "--task", str(site.server.data)]) == 0


@pytest.mark.slow
def test_the_marks_are_in_the_images_and_would_be_found(site: Site) -> None:
    body = b"".join(file.read_bytes() for file in site.scans.rglob("slice001.dcm"))
    missing = set(site.marks.found_in.values()) - set(site.marks.of(body))
    assert len(site.marks.found_in) > 400
    assert len(missing) < 0.05 * len(site.marks.found_in), missing  # values that pydicom writes another way
    for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientAddress", "InstitutionName", "StudyDate",
                 "AccessionNumber", "SeriesInstanceUID", "StudyInstanceUID", "ReferringPhysicianName"):  # fmt: skip
        assert {f"{pydicom.tag.Tag(name):08X}", name} & set(site.marks.of(body)), name


@pytest.mark.timeout(1800)
def test_nothing_of_the_patient_is_in_the_log(site: Site) -> None:
    assert b"label of uid-" in site.log  # it speaks of the image, by another name
    assert site.marks.of(site.log) == []
    assert FOLDER.encode() not in site.log


@pytest.mark.timeout(1800)
def test_nothing_of_the_patient_is_in_an_ordinary_task_file(site: Site, tmp_path: Path) -> None:
    export(site, str(tmp_path / "plain.fewsam"))
    assert {
        name: site.marks.of(body) for name, body in every_byte(tmp_path / "plain.fewsam") if body in site.marks
    } == {}
    assert {shot.annotator for shot in read_task(tmp_path / "plain.fewsam").meta.shots} == {ANNOTATOR}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("pixels", [[], ["--with-pixels"]])
def test_an_anonymous_task_file_tells_nothing_of_anybody(site: Site, pixels: list[str], tmp_path: Path) -> None:
    file = tmp_path / "task.fewsam"
    export(site, str(file), "--anonymous", *pixels)
    nothing_of_anybody(site, file)
    task = read_task(file)
    assert task.decoder is not None
    assert {(shot.annotator, shot.time, shot.source) for shot in task.meta.shots} == {("", "", "")}
    assert len({shot.image for shot in task.meta.shots}) == 1
    assert task.meta.shots[0].image != load_volume(site.scans, axis="2").content_hash
    with zipfile.ZipFile(file) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    meta = json.loads(zipfile.ZipFile(file).read("meta.json"))
    assert not re.search(r"20\d\d-\d\d-\d\d|/tmp|/home", json.dumps(meta))


@pytest.mark.timeout(1800)
def test_an_anonymous_data_set_tells_nothing_of_anybody(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "Dataset501_Organs"
    export(site, "--nnunet", str(folder), "--images", str(site.scans), "--anonymous")
    nothing_of_anybody(site, folder)
    names = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert names == {"dataset.json", "imagesTr/case_0001_0000.nii.gz", "labelsTr/case_0001.nii.gz"}
    for file in folder.rglob("*.gz"):
        assert file.read_bytes()[3:8] == b"\0" * 5, "a name or a date in the header of the gzip file"


def nothing_of_anybody(site: Site, path: Path) -> None:
    others = (ANNOTATOR, FOLDER, str(site.server.folder), os.path.expanduser("~") + "/")
    for name, body in every_byte(path):
        assert site.marks.of(body) == [], name
        for text in others:
            assert text.encode() not in body, (name, text)


# -- the parts


def test_where_a_label_came_from_names_no_file_and_no_uid() -> None:
    cases: Mapping[str, str] = {
        "rest:final": "rest:final",
        "pacs:1.2.826.0.1": "pacs",
        "labels/final/DOE^JANE.nii.gz": "labels/final",
        "fewsam train": "fewsam train",
        "/home/jane/x": "",
        "import": "import",
        "DOE^JANE/x": "",
        "DOE^JANE.nii.gz": "",
        "": "",
    }
    assert {source: kind_of(source) for source in cases} == cases


def test_images_keep_apart_and_two_exports_share_no_id(site: Site, tmp_path: Path) -> None:
    export(site, str(tmp_path / "plain.fewsam"))
    meta = read_task(tmp_path / "plain.fewsam").meta
    one, two = meta.shots[0], meta.shots[0].model_copy(update={"image": "ab" * 20})
    meta = meta.model_copy(update={"shots": (one, two, one)})
    first, second = anonymous(meta), anonymous(meta)
    assert [len({shot.image for shot in meta.shots}) for meta in (first, second)] == [2, 2]
    assert first.shots[0].image == first.shots[2].image
    assert not {shot.image for shot in first.shots} & {shot.image for shot in (*second.shots, *meta.shots)}
