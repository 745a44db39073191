"""What the server makes of its files after a kill, a full disk or damage, part by part."""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
from monailabel.interfaces.utils import app as monai_apps

from fewsam.atomic import write_atomically
from fewsam.errors import StorageError
from fewsam.server import routes
from fewsam.server.autotrain import STATE_FILE, AutoTrain
from fewsam.server.context import Context, settings_for
from fewsam.server.crowd import Crowd
from fewsam.server.datastore import INDEX_FILE, FolderDatastore
from fewsam.server.errors import PacsError, QueueFullError, RefusedError, RequestError, status_of
from fewsam.server.labels import LabelIntake
from fewsam.server.pacs import Outbox, Pacs
from fewsam.server.pacs_datastore import PacsDatastore
from fewsam.server.pacs_watch import PacsWatch
from fewsam.server.panel_labels import _names, _slices
from fewsam.server.points import points_of
from fewsam.server.threads import BoundedPool
from fewsam.server.train import SERVER_PROCESS, server_gone
from fewsam.server.watch import FolderWatch, SeenFiles
from fewsam.trust.studies import make_studies
from fewsam.volume import load_volume
from server_harness import write_label

OTHER_ORDER = {"label_info": [{"name": "box", "idx": 1}, {"name": "ball", "idx": 2}]}


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    make_studies(tmp_path / "studies", ("a", "b"))
    return tmp_path / "studies"


def context_of(tmp_path: Path) -> Context:
    settings, _ = settings_for({"labels": "ball,box"}, "http://nowhere")
    return Context(settings, tmp_path / "task")


def watch_of(tmp_path: Path, studies: Path) -> FolderWatch:
    datastore = FolderDatastore(str(studies), watch=False, read_only=False)
    return FolderWatch(datastore, LabelIntake(context_of(tmp_path)), SeenFiles(tmp_path / "seen.sqlite"))


def look(watch: FolderWatch) -> int:
    """Submissions after two looks, between which no file grew."""
    watch.scan()
    watch.scan()
    return watch.intake.context.collection.version


# -- label files


def test_killed_between_storing_a_label_and_noting_it_the_label_is_not_taken_again(
    tmp_path: Path, studies: Path
) -> None:
    """Read again it would be read without the client's names: value 1 would be another class."""
    watch = watch_of(tmp_path, studies)
    label = write_label(tmp_path / "a.nii.gz", np.ones((40, 36, 10)), [4])
    target = watch.datastore.label_file("a", "final", label)
    killed = watch.seen.own(target, label, "taken")
    killed.__enter__()
    watch.datastore.save_label("a", str(label), "final", OTHER_ORDER)
    assert target.exists()
    again = watch_of(tmp_path, studies)
    assert look(again) == 0
    assert again.seen.outcome(target) == "taken"
    write_label(target, np.ones((40, 36, 10)), [5])  # what a person puts there is new
    assert look(again) == 1


def test_killed_before_the_file_was_there_the_old_one_stays_as_it_was(tmp_path: Path, studies: Path) -> None:
    watch = watch_of(tmp_path, studies)
    old = write_label(studies / "labels" / "final" / "a.nii.gz", np.ones((40, 36, 10)), [4])
    assert look(watch) == 1
    watch.seen.own(old, write_label(tmp_path / "a.nii.gz", np.ones((40, 36, 10)), [7]), "taken").__enter__()
    assert look(watch_of(tmp_path, studies)) == 1


def test_a_damaged_record_is_set_aside_and_the_servers_own_files_are_known_again(tmp_path: Path, studies: Path) -> None:
    watch = watch_of(tmp_path, studies)
    label = write_label(tmp_path / "a.nii.gz", np.ones((40, 36, 10)), [4])
    watch.datastore.save_label("a", str(label), "final", OTHER_ORDER)
    write_label(studies / "labels" / "final" / "b.nii.gz", np.ones((40, 36, 10)), [5])  # a person's
    (tmp_path / "seen.sqlite").write_bytes(b"no database, whatever its name says" * 100)
    again = watch_of(tmp_path, studies)
    assert "damaged" in again.seen.notices[0]
    again.start()
    try:
        assert look(again) == 1
    finally:
        again.stop()
    assert again.intake.context.collection.labelled_by_image() == {"b": [5]}
    assert list(tmp_path.glob("seen.sqlite.damaged-*"))


def test_a_record_that_cannot_be_written_is_said_once_and_takes_nothing_back(
    tmp_path: Path, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watch_of(tmp_path, studies)
    label = write_label(tmp_path / "a.nii.gz", np.ones((40, 36, 10)), [4])

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(watch.seen, "record", full)
    target = watch.datastore.label_file("a", "final", label)
    with watch.seen.own(target, label, "taken"):
        watch.datastore.save_label("a", str(label), "final", {})
    write_label(studies / "labels" / "final" / "b.nii.gz", np.ones((40, 36, 10)), [5])
    assert look(watch) == look(watch) == 1
    assert sorted(problem["file"] for problem in watch.problems) == ["a.nii.gz", "b.nii.gz"]


@pytest.mark.parametrize("content", ['{"objects": {"a"', '{"objects": 7}', "\udcff"])
def test_a_damaged_index_is_set_aside(studies: Path, content: str) -> None:
    (studies / INDEX_FILE).write_bytes(content.encode(errors="surrogateescape"))
    datastore = FolderDatastore(str(studies), watch=False, read_only=False)
    assert sorted(datastore.list_images()) == ["a", "b"]
    assert "rebuilt" in datastore.notices[0]


# -- the task folder


def test_what_a_kill_left_is_swept_once(tmp_path: Path) -> None:
    context = context_of(tmp_path)
    folder = context.folder
    write_atomically(folder / "versions" / "x", b"")
    (folder / "versions" / f".decoder.{os.getpid()}-abcdefgh").write_bytes(b"half")
    (folder / "received").mkdir()
    (folder / "received" / "image.nii.gz").write_bytes(b"a patient")
    assert context.repaired == ("1 half-written files of a killed process were deleted",)
    assert not (folder / "received").exists() and [path.name for path in (folder / "versions").iterdir()] == ["x"]


def test_a_full_disk_stops_no_counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / STATE_FILE).write_text('{"labels_since_training": "many"}')

    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr("fewsam.server.autotrain.write_atomically", full)
    rule = AutoTrain("every:2", tmp_path, lambda: False, lambda: None)
    rule.label_stored()
    assert (rule.waiting, rule.due()) == (1, False)


def test_a_training_process_notices_that_its_server_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SERVER_PROCESS, raising=False)
    assert not server_gone()()
    monkeypatch.setenv(SERVER_PROCESS, str(os.getppid()))
    assert not server_gone()()
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        ended.wait()
    monkeypatch.setenv(SERVER_PROCESS, str(ended.pid))
    assert server_gone()()


# -- the PACS away at the start


def test_series_are_known_over_a_restart_while_the_pacs_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3", "Modality": "CT"}
    there = PacsDatastore(Pacs("http://127.0.0.1:9/dicom-web"), tmp_path)
    monkeypatch.setattr(there.pacs, "series", lambda fresh=False: {"1.2.3": entry})
    assert there.list_images() == ["1.2.3"]
    away = PacsDatastore(Pacs("http://127.0.0.1:9/dicom-web"), tmp_path)
    assert away.list_images() == ["1.2.3"] and "does not answer" in away.problem
    assert away.get_image_info("1.2.3")["StudyInstanceUID"] == "1.2"
    with pytest.raises(PacsError):
        away.image_folder("1.2.3")  # it was never downloaded
    (tmp_path / "images" / "1.2.3").mkdir(parents=True)
    (tmp_path / "images" / "1.2.3" / "00000.dcm").write_bytes(b"x")
    assert away.image_folder("1.2.3").is_dir()


NOWHERE = "http://127.0.0.1:9/dicom-web"


def write_dicom(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = pydicom.Dataset()
    whole.SOPClassUID, whole.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3"
    whole.file_meta = pydicom.dataset.FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    whole.save_as(path, write_like_original=False)


def test_what_the_pacs_refuses_holds_up_no_label_of_other_tools(tmp_path: Path) -> None:
    looked: list[str] = []

    class Refusing(Pacs):
        def series(self, fresh: bool = False) -> dict[str, dict[str, str]]:
            return {"1.2.9": {"Modality": "SEG", "StudyInstanceUID": "1.2", "NumberOfSeriesRelatedInstances": "1"}}

        def instances(self, study: str, series: str) -> list[pydicom.Dataset]:
            looked.append(series)
            return []

        def store(self, file: Path) -> None:
            raise RefusedError("the PACS refused to store the segmentation")

    datastore = PacsDatastore(Refusing(NOWHERE), tmp_path / "pacs")
    write_dicom(datastore.outbox.folder / "1.dcm")
    watch = PacsWatch(datastore, LabelIntake(context_of(tmp_path)))
    with pytest.raises(PacsError, match="refused"):
        watch.scan()
    assert looked == ["1.2.9"] and len(datastore.outbox.waiting()) == 1


def test_one_that_the_pacs_refuses_holds_up_no_other_and_one_that_is_away_is_asked_once(tmp_path: Path) -> None:
    asked: list[str] = []

    class Choosy(Pacs):
        away = False

        def store(self, file: Path) -> None:
            asked.append(file.name)
            if self.away:
                raise PacsError("the PACS does not answer")
            if file.name == "1.dcm":
                raise RefusedError("the PACS refused to store the segmentation")

    pacs = Choosy(NOWHERE)
    outbox = Outbox(tmp_path, pacs, lambda uid: None)
    for name in ("1.dcm", "2.dcm", "3.dcm"):
        write_dicom(tmp_path / name)
    with pytest.raises(RefusedError, match="refused"):
        outbox.send()
    assert asked == ["1.dcm", "2.dcm", "3.dcm"] and [path.name for path in outbox.waiting()] == ["1.dcm"]
    write_dicom(tmp_path / "4.dcm")
    asked.clear()
    pacs.away = True
    with pytest.raises(PacsError, match="does not answer"):
        outbox.send()
    assert asked == ["1.dcm"] and len(outbox.waiting()) == 2


def test_a_damaged_file_in_the_outbox_holds_up_no_other(tmp_path: Path) -> None:
    """What stood there once was answered with 500 for each further label, which was stored all the same."""
    sent: list[str] = []

    class Taking(Pacs):
        def store(self, file: Path) -> None:
            sent.append(file.name)

    outbox = Outbox(tmp_path, Taking(NOWHERE), lambda uid: None)
    (tmp_path / "1.dcm").write_bytes(b"half of a file")
    (tmp_path / "2.dcm").write_bytes(b"")
    write_dicom(tmp_path / "3.dcm")
    outbox.send()
    assert sent == ["3.dcm"] and outbox.waiting() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.dcm.damaged", "2.dcm.damaged"]


# -- requests


def test_numbers_that_are_none_are_the_clients_fault(studies: Path) -> None:
    """Python's JSON takes Infinity for a number."""
    volume = load_volume(studies / "a.nii.gz")
    for raw in ({"drawn": {"1": math.inf}}, {"replace": [math.inf]}):
        with pytest.raises(RequestError, match="drawn"):
            _slices(raw, volume)
    with pytest.raises(RequestError, match="label_info"):
        _names([{"idx": math.inf, "name": "ball"}])
    with pytest.raises(RequestError, match="whole numbers"):
        points_of({"ball": [[1, 1, math.inf]]}, ("ball",), volume)


def test_two_reloads_at_once_come_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []

    class App:
        app_dir, studies, conf = "app", "studies", {}

        def __init__(self, **_: object) -> None:
            time.sleep(0.05)

        def server_mode(self, mode: bool) -> None:
            pass

        def start_background(self) -> None:
            started.append(self)

        def stop_background(self) -> None:
            if self in started:
                started.remove(self)

    monkeypatch.setattr(monai_apps, "apps", {"app": App()})
    monkeypatch.setattr(routes, "_instance", lambda: monai_apps.apps["app"])
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(routes.reload) for _ in range(3)]
    assert [answer.result() for answer in answers] == [{}, {}, {}]
    assert started == [monai_apps.apps["app"]]


# -- bounds


def test_the_queue_before_the_models_is_bounded() -> None:
    pool, go = BoundedPool(workers=1, waiting=2), threading.Event()

    async def many() -> list[object]:
        held = [asyncio.create_task(pool.run(go.wait)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError, match="try again") as refused:
            await pool.run(go.wait)
        assert status_of(refused.value) == 503
        go.set()
        return list(await asyncio.gather(*held))

    assert asyncio.run(many()) == [True, True, True]
    assert pool.held == 0
    assert asyncio.run(pool.run(lambda: "served")) == "served"


def test_more_requests_than_are_taken_on_get_503() -> None:
    go = asyncio.Event()
    sent: list[dict[str, object]] = []

    async def slow(scope: object, receive: object, send: object) -> None:
        await go.wait()

    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def run() -> None:
        crowd = Crowd(slow, held=2)
        held = [asyncio.create_task(crowd({"type": "http"}, receive, send)) for _ in range(2)]
        await asyncio.sleep(0)
        await crowd({"type": "http"}, receive, send)
        assert sent[0]["status"] == 503 and b"try again" in bytes(sent[1]["body"])  # type: ignore[call-overload]
        go.set()
        await asyncio.gather(*held)
        assert crowd.held == 0

    asyncio.run(run())
