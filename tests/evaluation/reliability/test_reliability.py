"""The attacks of ``make reliability`` in a reduced form; and that they would notice a loss."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fewsam.collection import Collection
from fewsam.evaluation.reliability import report
from fewsam.evaluation.reliability.damage import Damage
from fewsam.evaluation.reliability.disk import DiskFull, NoDiskError, small_disk
from fewsam.evaluation.reliability.faults import Faults
from fewsam.evaluation.reliability.gauges import Gauges
from fewsam.evaluation.reliability.ledger import Entry, Ledger
from fewsam.evaluation.reliability.load import Load
from fewsam.evaluation.reliability.size import long_volume, many_pictures
from fewsam.evaluation.reliability.studies import CLASSES, SHAPE, Drawing, draw, make_studies
from fewsam.images.volume import load_volume

pytestmark = pytest.mark.timeout(900)  # servers are started again and again


# -- the judge itself


def submitted(folder: Path, ledger: Ledger, drawing: Drawing, annotator: str = "ann") -> None:
    """A drawing in the collection, acknowledged in the ledger."""
    make_studies(folder / "studies", ["a"], SHAPE)
    volume = load_volume(folder / "studies" / "a.nii.gz")
    masks = {name: volume.geometry.to_slices(drawing.voxels == 2 - CLASSES.index(name)) for name in CLASSES}
    slices = set(drawing.shots)
    done = Collection(folder, CLASSES).submit(volume, "a", masks, annotator=annotator, complete_slices=slices)
    ledger.acknowledge(Entry("a", drawing, b"", annotator), {"submission": done.submission})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "task"


def test_what_is_there_is_found(folder: Path) -> None:
    ledger = Ledger()
    submitted(folder, ledger, draw(1, [2, 5]))
    submitted(folder, ledger, draw(2, [5, 6]))
    assert ledger.check_collection(folder) == ledger.check_collection(folder, everything=True) == []


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("DELETE FROM shots WHERE submission = 2", "is not the last one acknowledged"),
        ("DELETE FROM shots WHERE submission = 1", "of submission 1 is not as it was drawn"),
        ("UPDATE submissions SET annotator = 'bob' WHERE id = 1", "by 'bob'"),
        ("UPDATE shots SET drawn = (SELECT drawn FROM shots LIMIT 1)", "is not as it was drawn"),
        ("UPDATE shots SET slice = 0 WHERE id = 1", "was never drawn"),
    ],
)
def test_a_loss_or_a_mix_up_is_noticed(folder: Path, loss: str, said: str) -> None:
    ledger = Ledger()
    submitted(folder, ledger, draw(1, [2, 5]))
    submitted(folder, ledger, draw(2, [5, 6]))
    (folder / "collection.copy.sqlite").unlink()  # from which it would be mended
    with sqlite3.connect(folder / "collection.sqlite") as db:
        db.execute(loss)
    assert any(said in problem for problem in ledger.check_collection(folder))


def test_a_label_whose_answer_never_came_may_be_there_or_not(folder: Path) -> None:
    ledger = Ledger()
    submitted(folder, ledger, draw(1, [2, 5]))
    submitted(folder, ledger, draw(2, [3]))
    known = ledger.entries.pop()
    ledger.doubt(Entry("a", draw(3, [7]), b"", "ann"))  # never came
    ledger.doubt(known)  # came
    assert ledger.check_collection(folder) == []
    assert [entry.drawing for entry in ledger.entries[1:]] == [known.drawing]


# -- the attacks


@pytest.mark.slow
def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    part = Faults(tmp_path / "work", seed=3)
    part.run(2)
    summary = part.summary()
    assert summary["problems"] == []
    assert summary["kills"] == 2 and summary["labels_acknowledged"] > 3
    report.write(tmp_path, "faults", {"kills": 2}, summary, 1.0)
    assert "No problem was found." in (tmp_path / "report.md").read_text()
    assert json.loads((tmp_path / "faults.json").read_text())["found"]["kills"] == 2


@pytest.mark.slow
def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "disk") as disk:
            part = DiskFull(disk, tmp_path / "beside")
            part.run((16 << 10,))
            summary = part.summary()
    except NoDiskError as error:
        pytest.skip(str(error))
    assert summary["problems"] == []
    assert summary["writes"] == 5 and summary["refused"] >= 2


@pytest.mark.slow
def test_a_damaged_file_is_repaired_and_nothing_is_lost(tmp_path: Path) -> None:
    part = Damage(tmp_path / "work")
    part.run(only="collection overwritten")
    assert part.summary()["problems"] == []
    assert part.summary()["cases"] == 1 and part.done[0].repaired


@pytest.mark.slow
def test_annotators_at_once_lose_nothing_and_never_meet(tmp_path: Path) -> None:
    part = Load(tmp_path / "work", annotators=4, images=2)
    part.run(0.3)
    summary = part.summary()
    assert summary["problems"] == []
    assert summary["labels_acknowledged"] >= 4
    assert summary["burst"]["statuses"]["503"] > 0 and "try again" in summary["burst"]["refusal"][0]
    assert summary["info_requests"] > 5 and not summary["info_failures"]
    assert part.gauges is not None
    part.gauges.plot(tmp_path / "load.png", "memory")
    assert (tmp_path / "load.png").stat().st_size > 5000


@pytest.mark.parametrize("work", [long_volume, many_pictures])
def test_a_server_that_does_not_start_is_what_is_found(
    tmp_path: Path, work: Callable[[Path, int], tuple[dict[str, Any], Gauges]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fewsam.evaluation.reliability.size.TINY", {"no_such_setting": 1})
    found, gauges = work(tmp_path / "work", 20)
    assert len(found["problems"]) == 1 and "no_such_setting" in found["problems"][0]
    assert found["info_requests"] == 0 and gauges.memory == []


@pytest.mark.slow
def test_long_volumes_and_many_pictures_work(tmp_path: Path) -> None:
    for found, _ in (long_volume(tmp_path / "long", 20), many_pictures(tmp_path / "many", 20)):
        assert found["problems"] == []
        assert found["anonymous_mb_peak"] > 0
