"""No request reads or writes a file outside of the studies and app folders, and none has code of the client's run."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import requests

from fewsam.evaluation.reliability.studies import make_studies
from helpers.server_harness import Server, write_label

CONF = {
    "encoder": "compact",
    "labels": "ball,box", "ensemble": 1, "prototypes": 1, "views": 0, "steps": 2, "train_seconds": 2,
    "precompute": "false", "input_size": 64, "detail_size": 64,
}  # fmt: skip
JSON = {"content-type": "application/json"}
SECRET = b"what nobody may see"


class Planted:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.mark}",)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A server; beside its folders a secret, an image, and links to both from the studies."""
    root = tmp_path_factory.mktemp("access")
    studies, outside = root / "studies", root / "outside"
    truth = make_studies(studies, ("a", "b"), shape=(16, 16, 4))
    make_studies(outside, ("stranger",), shape=(16, 16, 4), seed=1)
    (outside / "secret.nii.gz").write_bytes(gzip.compress(SECRET))
    (outside / "secret.json").write_text(json.dumps({"secret": SECRET.decode()}))
    (outside / "secret.bin").write_bytes(SECRET.ljust(16 * 16 * 4, b"\1"))
    (studies / "linked.nii.gz").symlink_to(outside / "stranger.nii.gz")
    with Server(root / "server", studies, conf=CONF, environment={"TMPDIR": str(_made(root / "tmp"))}) as server:
        server.put_label("a", write_label(root / "label" / "a.nii.gz", truth["a"], [1])).raise_for_status()
        yield SimpleNamespace(server=server, root=root, studies=studies, outside=outside, truth=truth)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def untouched(place: SimpleNamespace) -> Iterator[None]:
    """Whatever the test asks for: nothing outside changes, the server lives, and no upload stays behind."""
    before = _fingerprints(place.outside)
    yield
    assert _fingerprints(place.outside) == before
    assert {path.name for path in place.root.iterdir()} == {"studies", "outside", "server", "tmp", "label"}
    assert requests.get(f"{place.server.url}/info/", timeout=60).status_code == 200


def _fingerprints(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def ask(place: SimpleNamespace, method: str, path: str, **more: Any) -> requests.Response:
    """A request whose path is sent as it stands: requests itself would resolve ``..``."""
    request = requests.Request(method, place.server.url + "/", **more).prepare()
    query = request.url.partition("?")[2] if request.url else ""
    request.url = place.server.url + path + (f"?{query}" if query else "")
    with requests.Session() as session:
        return session.send(request, timeout=60)


WAYS = [
    "../outside/secret", "../outside/stranger", "/etc/passwd", "a/../../outside/stranger", "..", ".", "", "\0", "~",
    "..\\outside\\stranger", "%2e%2e/outside/stranger", "x" * 5000, "file:///etc/passwd", "linked",
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_an_image_id_is_never_a_path(place: SimpleNamespace, way: str) -> None:
    image = {"params": {"image": way}}
    answers = [
        ask(place, "GET", "/datastore/image", **image),
        ask(place, "HEAD", "/datastore/image", **image),
        ask(place, "GET", "/datastore/image/info", **image),
        ask(place, "PUT", "/datastore/image/info", data={"info": '{"x": 1}'}, **image),
        ask(place, "POST", "/infer/segmentation", params={"image": way, "output": "image"}),
        ask(place, "POST", "/infer/segmentation", params={"image": way}, data={"params": '{"save_label": true}'}),
        ask(place, "GET", "/fewsam/labelmap", **image),
        ask(place, "POST", "/fewsam/segment", **image),
        ask(place, "POST", "/fewsam/clicks", json={"image": way, "slice": 0, "label": "ball", "include": [[1, 1]]}),
        ask(place, "GET", "/datastore/label", params={"label": way, "tag": "final"}),
        ask(place, "GET", "/datastore/label", params={"label": "a", "tag": way}),
        ask(place, "DELETE", "/datastore/label", params={"id": way, "tag": "final"}),
        ask(place, "DELETE", "/datastore/image", params={"id": way}),
        ask(place, "PUT", "/datastore/label/info", params={"label": way, "tag": "final"}, data={"info": "{}"}),
        ask(place, "GET", "/datastore/label/info", params={"label": way, "tag": "../../outside"}),
    ]
    for answer in answers:
        assert answer.status_code < 500, (answer.request.method, answer.request.url, answer.text)
        assert SECRET not in answer.content and b"root:" not in answer.content
        assert answer.status_code >= 400 or len(answer.content) < 200, (answer.request.url, answer.content[:300])


def test_a_link_out_of_the_studies_is_not_followed(place: SimpleNamespace) -> None:
    assert "linked" not in requests.get(f"{place.server.url}/datastore/?output=all", timeout=60).json()["objects"]
    assert "link out of the studies folder" in place.server.tail(10_000)
    final = place.studies / "labels" / "final"
    (final / "b.nii.gz").symlink_to(place.outside / "stranger.nii.gz")
    answer = place.server.put_label("b", write_label(place.root / "label" / "b.nii.gz", place.truth["b"], [2]))
    assert answer.status_code == 200
    assert not (final / "b.nii.gz").is_symlink() and (final / "b.nii.gz").stat().st_size < 4096
    (place.studies / "new.nii.gz").symlink_to(place.outside / "stranger.nii.gz")
    with (place.studies / "a.nii.gz").open("rb") as file:
        answer = ask(place, "PUT", "/datastore/image", params={"image": "new"}, files={"file": ("x.nii.gz", file)})
    assert answer.json() == {"image": "new"} and not (place.studies / "new.nii.gz").is_symlink()
    assert ask(place, "DELETE", "/datastore/image", params={"id": "new"}).status_code == 200


@pytest.mark.parametrize("way", ["../outside/new", "/tmp/new", "..", ".hidden", "a/b", "x" * 300, "a\nb", "..\\x"])
def test_an_uploaded_image_stays_in_the_studies(place: SimpleNamespace, way: str) -> None:
    before = sorted(path.name for path in place.studies.iterdir())
    for image, name in ((way, "x.nii.gz"), ("", f"{way}/../../x.sh"), ("", way + ".py")):
        answer = ask(
            place, "PUT", "/datastore/image", params={"image": image} if image else {}, files={"file": (name, b"x")}
        )
        assert answer.status_code == 400, (name, answer.text)
    assert sorted(path.name for path in place.studies.iterdir()) == before


@pytest.mark.parametrize(
    "way", ["../../outside/x.nii.gz", "/etc/x.nii.gz", "..", "..\\..\\x.nii.gz", "x" * 300, "a\0b"]
)
def test_a_label_file_goes_where_labels_go(place: SimpleNamespace, way: str) -> None:
    label = write_label(place.root / "label" / "a.nii.gz", place.truth["a"], [1]).read_bytes()
    answer = ask(place, "PUT", "/datastore/label", params={"image": "a"}, files={"label": (way, label)})
    assert answer.status_code in (200, 400, 422), answer.text
    for tag in ("../../outside", "/tmp", "..", "final/../.."):
        answer = ask(
            place, "PUT", "/datastore/label", params={"image": "a", "tag": tag}, files={"label": ("a.nii.gz", label)}
        )
        assert answer.status_code == 400, answer.text


def test_headers_that_name_other_files_are_refused(place: SimpleNamespace) -> None:
    secret = place.outside / "secret.bin"
    nrrd = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 16 16 4\nencoding: raw\ndata file: {}\n\n"
    mha = "ObjectType = Image\nNDims = 3\nDimSize = 16 16 4\nElementType = MET_UCHAR\nElementDataFile = {}\n"
    relative = os.path.relpath(secret, place.root / "tmp" / "x")
    for name, head in (("a.nrrd", nrrd), ("a.seg.nrrd", nrrd), ("a.mha", mha)):
        for target in (str(secret), relative, "LIST", "%d.bin 1 2 1"):
            sent = head.format(target).encode()
            answers = [
                ask(place, "PUT", "/datastore/label", params={"image": "a"}, files={"label": (name, sent)}),
                ask(place, "POST", "/infer/segmentation", params={"output": "json"}, files={"file": (name, sent)}),
            ]
            for answer in answers:
                assert answer.status_code == 422 and "voxels should be in" in answer.json()["detail"], answer.text


def _zip(*names: str, size: int = 10) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, bytes(size))
    return buffer.getvalue()


def _tar(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        archive.addfile(info, io.BytesIO())
    return buffer.getvalue()


def test_an_archive_is_unpacked_in_its_session_alone(place: SimpleNamespace) -> None:
    strange = [
        ("a.zip", _zip("../../outside/x.dcm")), ("a.zip", _zip("/tmp/x.dcm")), ("a.zip", _zip("..\\x.dcm")),
        ("a.tar.gz", _tar("../../outside/x.dcm")), ("a.tar.gz", _tar("/tmp/x.dcm")),
        ("a.tar.gz", _tar("x", tarfile.SYMTYPE, str(place.outside))),
        ("a.tar", _tar("x", tarfile.LNKTYPE, "/etc/passwd")),
        ("a.tar", _tar("x", tarfile.CHRTYPE)), ("a.zip", b"PK\3\4 no zip"), ("a.7z", b"7z"), ("..", _zip("a")),
    ]  # fmt: skip
    for name, body in strange:
        answer = ask(place, "PUT", "/session/", params={"uncompress": True}, files={"files": (name, body)})
        assert answer.status_code == 400, (name, answer.text)
    for bad in ("..", "%2e%2e", "..%2f..", "a%00"):
        for method in ("GET", "DELETE"):
            assert ask(place, method, f"/session/{bad}").status_code in (404, 405), bad
    whole = _zip("scan/1.dcm", "scan/2.dcm")
    session = ask(place, "PUT", "/session/", params={"uncompress": True}, files={"files": ("a.zip", whole)}).json()
    kept = Path(session["session_info"]["image"])
    assert kept.is_relative_to(place.server.folder / "sessions")
    assert sorted(path.name for path in kept.rglob("*.dcm")) == ["1.dcm", "2.dcm"]
    answer = ask(place, "POST", "/infer/segmentation", params={"session_id": session["session_id"]})
    assert answer.status_code == 422 and "no DICOM image" in answer.json()["detail"]
    assert ask(place, "DELETE", f"/session/{session['session_id']}").status_code == 200 and not kept.exists()


def test_params_choose_no_file_and_no_program(place: SimpleNamespace) -> None:
    """``bundle_path`` of a train request would be on the Python path of the training process."""
    mark = place.root / "server" / "ran"
    bundle = _made(place.root / "server" / "bundle")
    (bundle / "sitecustomize.py").write_text(f"open({str(mark)!r}, 'w')")
    hostile = {"bundle_path": str(bundle), "checkpoint": str(place.outside / "secret.bin"), "gpus": "0", "model": "x"}
    for path, task in (
        ("/train/segmentation", "/train/"),
        ("/train/", "/train/"),
        ("/batch/infer/segmentation", "/batch/infer"),
    ):
        answer = ask(place, "POST", path, json={**hostile, "segmentation": hostile, "steps": 1})
        assert answer.status_code == 200, answer.text
        asked = json.dumps(ask(place, "GET", task).json()["request"])
        assert '"model": "segmentation"' in asked
        assert not [word for word in ("bundle_path", "checkpoint", str(place.root), '"0"') if word in asked]
        if path == "/train/segmentation":
            place.server.wait_for_training()
        else:
            place.server.wait(lambda task=task: ask(place, "DELETE", task).json(), "the end of its process")
            place.server.wait(lambda: not place.server.children(), "the end of its process")
    assert ask(place, "POST", "/scoring/x", json=hostile).status_code == 404
    params = json.dumps({**hostile, "image": "/etc/passwd", "image_file": str(place.outside / "secret.bin")})
    asked = {"image": "a", "output": "json"}
    answer = ask(place, "POST", "/infer/segmentation", params=asked, data={"params": params})
    assert answer.status_code == 200 and answer.json()["label_names"] == {"ball": 1, "box": 2}
    assert not mark.exists()
    for wrong in ({"steps": "x" * 100_000}, {"seed": 1e400}, {"train_seconds": -1}, {"batch": 10**9}):
        answer = ask(place, "POST", "/train/segmentation", data=json.dumps(wrong), headers=JSON)
        assert answer.status_code in (400, 422) and len(answer.content) < 2000, answer.text[:300]


def test_weights_do_not_come_in_by_request(place: SimpleNamespace) -> None:
    mark = place.root / "server" / "unpickled"
    body = pickle.dumps(Planted(mark))
    for model in ("segmentation", "points", "..", "x"):
        answer = ask(place, "PUT", f"/model/{model}", files={"file": ("model.pt", body)})
        assert answer.status_code in (400, 404, 405), answer.text
        assert ask(place, "GET", f"/model/{model}").status_code in (400, 404, 405)
    answer = ask(place, "PUT", "/datastore/label", params={"image": "a"}, files={"label": ("a.nii.gz", body)})
    assert answer.status_code == 422 and not mark.exists()


@pytest.mark.parametrize("path", ["/ohif/../../../../etc/passwd", "/ohif/%2e%2e/%2e%2e/etc/passwd", "/ohif/..",
    "/ohif/assets/..%2f..%2f..%2fapp.py", "/static/..%2f..%2fapp.py", "/static/../app.py", "/logs/..%2f..%2fx",
    "//etc/passwd", "/ohif//etc/passwd", "/ohif/%00"])  # fmt: skip
def test_pages_come_from_their_folder_alone(place: SimpleNamespace, path: str) -> None:
    answer = ask(place, "GET", path)
    assert b"root:" not in answer.content and b"CORSMiddleware" not in answer.content
    assert answer.status_code < 500, answer.text[:300]


def test_what_is_too_large_is_refused_before_it_is_kept(place: SimpleNamespace) -> None:
    answer = ask(place, "POST", "/train/segmentation", data=b"[" + b"1," * (9 << 20) + b"1]", headers=JSON)
    assert answer.status_code == 413 and "MB were sent" in answer.json()["detail"]

    def endless() -> Iterator[bytes]:
        for _ in range(20):
            yield bytes(1 << 20)

    answer = ask(place, "POST", "/fewsam/next", data=endless(), headers=JSON)
    assert answer.status_code == 413
    bomb = gzip.compress(_nifti_head((32767, 32767, 32767)) + bytes(1 << 20))
    for method, path, more in (
        ("PUT", "/datastore/label", {"params": {"image": "a"}, "files": {"label": ("a.nii.gz", bomb)}}),
        ("POST", "/infer/segmentation", {"files": {"file": ("a.nii.gz", bomb)}}),
    ):
        answer = ask(place, method, path, **more)
        assert answer.status_code == 422 and "claims" in answer.json()["detail"], answer.text


def _nifti_head(shape: tuple[int, int, int]) -> bytes:
    import nibabel as nib

    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.uint8)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    return bytes(header.binaryblock) + bytes(4)
