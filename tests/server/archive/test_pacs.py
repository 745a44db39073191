"""The embedded PACS over its own HTTP interface: the archive, and the form of its messages."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from starlette.testclient import TestClient

from fewsam.core.errors import StorageError
from fewsam.server.archive.pacs import build_app, open_archive
from fewsam.synthetic.phantom import write_dataset

WEB = "http://testserver/dicom-web"


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    write_dataset(folder, patients=2, shape=(32, 26, 16))
    return folder / "dicom"


@pytest.fixture(scope="module")
def web(scans: Path) -> TestClient:
    return TestClient(build_app(scans))


def header(scans: Path, name: str) -> pydicom.Dataset:
    return pydicom.dcmread(scans / name / "slice003.dcm")


def place(data: pydicom.Dataset) -> str:
    return f"{WEB}/studies/{data.StudyInstanceUID}/series/{data.SeriesInstanceUID}"


def multipart(*files: bytes) -> tuple[bytes, dict[str, str]]:
    parts = b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files)
    return parts + b"--b--\r\n", {"content-type": 'multipart/related; type="application/dicom"; boundary=b'}


def as_bytes(data: pydicom.Dataset) -> bytes:
    file = io.BytesIO()
    data.save_as(file, write_like_original=False)
    return file.getvalue()


def test_queries_find_studies_series_and_instances(web: TestClient, scans: Path) -> None:
    mr = header(scans, "mr-patient01")
    assert len(web.get(f"{WEB}/studies").json()) == 3
    assert len(web.get(f"{WEB}/studies", params={"PatientName": "*Two*", "includefield": "all"}).json()) == 1
    assert len(web.get(f"{WEB}/studies", params={"limit": 2, "offset": 2}).json()) == 1
    assert len(web.get(f"{WEB}/studies", params={"ModalitiesInStudy": "MR"}).json()) == 1
    [series] = web.get(f"{WEB}/series", params={"Modality": "MR"}).json()
    assert series["0020000E"]["Value"] == [mr.SeriesInstanceUID]
    assert series["0008103E"]["Value"] == [mr.SeriesDescription]
    assert len(web.get(f"{place(mr)}/instances").json()) == 16


def test_folders_may_have_any_name_but_two_characters(scans: Path, tmp_path: Path) -> None:
    folder = tmp_path / "Åse's scans^1 %20;a"
    folder.symlink_to(scans)
    (named := tmp_path / "a b^c %20;d").mkdir()
    (named / "one.dcm").write_bytes((scans / "ct-patient01" / "slice003.dcm").read_bytes())
    for there in (folder, named):
        assert TestClient(build_app(there)).get(f"{WEB}/studies").json()
    (tmp_path / "a#b").mkdir()
    with pytest.raises(StorageError, match="rename"):
        build_app(tmp_path / "a#b")


def test_what_comes_back_is_what_lies_in_the_folder(web: TestClient, scans: Path) -> None:
    ct = header(scans, "ct-patient01")
    file = (scans / "ct-patient01" / "slice003.dcm").read_bytes()
    assert file in web.get(f"{place(ct)}/instances/{ct.SOPInstanceUID}").content
    whole = web.get(place(ct))
    assert whole.headers["content-type"].startswith("multipart/related")
    assert whole.content.count(b"DICM") == 16
    frame = web.get(f"{place(ct)}/instances/{ct.SOPInstanceUID}/frames/1")
    assert ct.PixelData in frame.content and ct.file_meta.TransferSyntaxUID in frame.headers["content-type"]
    metadata = web.get(f"{place(ct)}/metadata").json()
    assert len(metadata) == 16 and {m["00080060"]["Value"][0] for m in metadata} == {"CT"}
    bulk = next(m for m in metadata if m["00080018"]["Value"] == [ct.SOPInstanceUID])["7FE00010"]["BulkDataURI"]
    assert ct.PixelData in web.get(bulk[bulk.index("/dicom-web") :]).content


def test_frames_of_a_compressed_and_of_a_multiframe_instance(tmp_path: Path, scans: Path) -> None:
    plain = header(scans, "ct-patient01")
    frames = [np.full((plain.Rows, plain.Columns), n, "<u2") for n in range(3)]
    plain.NumberOfFrames, plain.PixelData = 3, b"".join(f.tobytes() for f in frames)
    plain.save_as(tmp_path / "multi.dcm", write_like_original=False)
    packed = header(scans, "ct-patient02")
    packed.decompress() if packed.file_meta.TransferSyntaxUID.is_compressed else None
    packed.file_meta.TransferSyntaxUID = pydicom.uid.RLELossless
    packed.PixelData = pydicom.encaps.encapsulate([b"not looked into!"])
    packed["PixelData"].is_undefined_length = True
    packed.save_as(tmp_path / "packed.dcm", write_like_original=False)
    web = TestClient(build_app(tmp_path))
    answer = web.get(f"{place(plain)}/instances/{plain.SOPInstanceUID}/frames/2,3").content
    assert frames[1].tobytes() in answer and frames[2].tobytes() in answer
    answer = web.get(f"{place(packed)}/instances/{packed.SOPInstanceUID}/frames/1")
    assert b"not looked into!" in answer.content and pydicom.uid.RLELossless in answer.headers["content-type"]


def test_a_stored_instance_is_found_and_survives_a_restart(tmp_path: Path, scans: Path) -> None:
    data = header(scans, "mr-patient01")
    web = TestClient(build_app(tmp_path))
    assert web.get(f"{WEB}/studies").json() == []
    body, headers = multipart(as_bytes(data))
    answer = web.post(f"{WEB}/studies", content=body, headers=headers)
    assert answer.status_code == 200
    assert data.SOPInstanceUID in answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    for reader in (web, TestClient(build_app(tmp_path))):
        assert len(reader.get(f"{place(data)}/instances").json()) == 1


def test_what_cannot_be_done_is_said(web: TestClient, scans: Path, tmp_path: Path) -> None:
    ct = header(scans, "ct-patient01")
    assert web.get(f"{WEB}/studies/1.2/series/3.4/metadata").status_code == 404
    assert web.get(f"{place(ct)}/instances/{ct.SOPInstanceUID}/frames/9").status_code == 404
    assert web.get(f"{place(ct)}/instances/{ct.SOPInstanceUID}/frames/x").status_code == 400
    assert "multipart" in web.post(f"{WEB}/studies", content=b"x").json()["detail"]
    body, headers = multipart(b"no DICOM at all")
    refused = web.post(f"{WEB}/studies", content=body, headers=headers)
    assert refused.status_code == 400 and "DICOM" in refused.json()["detail"]
    with pytest.raises(StorageError, match="no such folder"):
        build_app(tmp_path / "missing")


def test_what_is_served_and_what_is_left_out_is_said(tmp_path: Path, scans: Path) -> None:
    """Odd files beside a good series: each is served from a copy that has what it lacks, or left out by name."""
    good = header(scans, "ct-patient01")
    for file in sorted((scans / "ct-patient01").iterdir())[:4]:
        (tmp_path / file.name).write_bytes(file.read_bytes())

    def odd(name: str, **changes: object) -> pydicom.Dataset:
        data = header(scans, "mr-patient01")
        data.SeriesInstanceUID, data.SOPInstanceUID = f"1.2.3.{len(name)}", f"1.2.4.{len(name)}"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        for keyword, value in changes.items():
            setattr(data, keyword, value)
        return data

    bare = odd("bare.dcm")
    bare.file_meta, bare.preamble = pydicom.dataset.FileMetaDataset(), None
    bare.save_as(tmp_path / "bare.dcm", write_like_original=True)
    mended = odd("no-instance-uid.dcm", SOPInstanceUID="")
    mended.save_as(tmp_path / "no-instance-uid.dcm")
    odd("no-series.dcm", SeriesInstanceUID="").save_as(tmp_path / "no-series.dcm")
    odd("private", SOPClassUID="1.3.12.2.1107.5.9.1", Rows=None, Columns=None).save_as(tmp_path / "private.dcm")
    repeated = odd("x", SeriesInstanceUID=good.SeriesInstanceUID, SOPInstanceUID=good.SOPInstanceUID)
    repeated.StudyInstanceUID = good.StudyInstanceUID
    repeated.save_as(tmp_path / "zz-repeated.dcm")
    (tmp_path / "zz-copy.dcm").write_bytes((tmp_path / "slice003.dcm").read_bytes())
    bad_value = odd("bad value.dcm")
    bad_value.save_as(tmp_path / "bad value.dcm")
    content = (tmp_path / "bad value.dcm").read_bytes()
    (tmp_path / "bad value.dcm").write_bytes(content.replace(b"IS\x02\x003 ", b"IS\x02\x00x "))
    htj2k = odd("syntax")
    htj2k.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    htj2k["PixelData"].is_undefined_length = True
    htj2k.PixelData = pydicom.encaps.encapsulate([b"12"])
    htj2k.save_as(tmp_path / "syntax.dcm")
    content = (tmp_path / "syntax.dcm").read_bytes()
    (tmp_path / "syntax.dcm").write_bytes(content.replace(b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.99"))
    (tmp_path / "README.txt").write_text("no DICOM")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 300)

    archive = open_archive(tmp_path)
    report = archive.report()
    assert report[0] == "7 of 14 files served"
    assert "left out, no DICOM object: DICOMDIR, README.txt" in report
    assert "left out, it has no study or series UID; give it one (dcmodify -gst -gse): no-series.dcm" in report
    assert "left out, it is slice003.dcm once more: zz-copy.dcm" in report
    assert "left out, it is another image with the UID of slice003.dcm: zz-repeated.dcm" in report
    assert "left out, its kind is a vendor's own and holds no pixels: private.dcm" in report
    assert any("1.2.840.10008.1.2.4.99, which is not read here" in line for line in report)
    web = TestClient(archive.app())
    series = web.get(f"{WEB}/series").json()
    assert len(series) == 4
    for entry in series:  # whatever is listed is there
        study, uid = entry["0020000D"]["Value"][0], entry["0020000E"]["Value"][0]
        address = f"{WEB}/studies/{study}/series/{uid}"
        count = entry["00201209"]["Value"][0]
        assert len(web.get(f"{address}/metadata").json()) == count
        whole = web.get(address)
        assert whole.status_code == 200 and whole.content.count(b"DICM") == count
    data = mended
    assert mended.file_meta.MediaStorageSOPInstanceUID.encode() in web.get(place(data)).content
