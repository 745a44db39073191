"""A folder of studies that cannot be written to: all that is written lies elsewhere."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from fewsam.evaluation.reliability.disk import NoDiskError, small_disk
from fewsam.evaluation.reliability.studies import make_studies
from fewsam.server.archive.pacs import open_archive
from fewsam.server.storage.datastore import open_folder
from helpers.server_harness import write_label


@pytest.fixture
def studies(tmp_path: Path) -> Iterator[Path]:
    """Two images on a disk that is mounted read-only."""
    try:
        with small_disk(tmp_path / "disk", megabytes=16) as disk:
            make_studies(disk / "studies", ("a", "b"))
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            yield disk / "studies"
    except NoDiskError as error:
        pytest.skip(str(error))


def test_index_lock_and_labels_lie_in_the_apps_folder(
    studies: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = sorted(studies.rglob("*"))
    for _ in range(2):  # a restart finds what the first start stored
        datastore = open_folder(studies, tmp_path / "own", watch=False, read_only=False)
        assert sorted(datastore.list_images()) == ["a", "b"]
        assert Path(datastore.get_image_uri("a")).parent == studies.resolve()
        datastore.save_label("a", str(write_label(tmp_path / "a.nii.gz", np.ones((4, 4, 4)))), "final", {})
        assert (tmp_path / "own") in datastore.final_labels().parents
        assert Path(datastore.get_label_uri("a", "final")).is_file()
    assert sorted(studies.rglob("*")) == before
    assert f"{studies} is read-only" in caplog.text


def test_the_small_pacs_says_so_and_refuses_what_is_sent(studies: Path) -> None:
    archive = open_archive(studies)
    assert any("read-only" in line for line in archive.report())
    kind = {"content-type": 'multipart/related; type="application/dicom"; boundary=b'}
    answer = TestClient(archive.app()).post("http://testserver/dicom-web/studies", content=b"--b--\r\n", headers=kind)
    assert answer.status_code == 400 and "read-only" in answer.json()["detail"]
