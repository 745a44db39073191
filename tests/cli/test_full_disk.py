"""Commands on a full disk: one line that names the file and the reason, and no half of an output under its name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fewsam.cli import main
from fewsam.evaluation.reliability.disk import NoDiskError, filled, small_disk
from helpers.tiny_task import conf_arguments, write_case


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained task, an image ``a`` with labels, and one ``b`` without."""
    root = tmp_path_factory.mktemp("trained")
    image, _ = write_case(root, "a")
    write_case(root, "b", shift=1.0)
    line = ["train", image, "--labels", root / "labels", "--slices", "4,6", "--complete", "--task", root / "task"]
    assert main([*map(str, line), *conf_arguments()]) == 0
    return root


@pytest.fixture
def disk(tmp_path: Path, root: Path) -> Iterator[Path]:
    """With a copy of the task and an empty folder ``out``."""
    try:
        with small_disk(tmp_path / "disk", 200) as disk:
            shutil.copytree(root / "task", disk / "task")
            (disk / "out").mkdir()
            yield disk
    except NoDiskError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("left", [0, 12 << 10, 1 << 20])
@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("export {out}/x.fewsam --task {task}", "x.fewsam"),
        ("export --nnunet {out}/D --images {root}/images --task {task}", "a_0000.nii.gz"),
        ("segment {root}/images/b.nii.gz -o {out}/b.nii.gz --task {task}", "b.nii.gz"),
        ("segment {root}/images/b.nii.gz -o {out}/b.seg.nrrd --task {task}", "b.seg.nrrd"),
        ("train --task {task}", "decoder-00002.safetensors"),
    ],
)
def test_a_full_disk_is_said_in_one_line(
    disk: Path, root: Path, capfd: pytest.CaptureFixture[str], line: str, named: str, left: int
) -> None:
    with filled(disk, left):
        code = main(line.format(out=disk / "out", task=disk / "task", root=root).split())
    said = capfd.readouterr().err
    files = {path.name for path in (disk / "out").rglob("*") if path.is_file()}
    if code == 0:  # as little as this fits
        assert left == 1 << 20 and named in files
        return
    assert code == 1 and "Traceback" not in said
    last = said.strip().splitlines()[-1]
    assert last.startswith("error: ") and named in last and "the disk is full" in last
    assert files == set()
    assert not (disk / "task" / "versions" / "decoder-00002.safetensors").exists()


@pytest.mark.parametrize("left", [0, 12 << 10])
def test_a_cache_without_room_for_its_locks_is_refused_and_kept(
    disk: Path, root: Path, capfd: pytest.CaptureFixture[str], left: int
) -> None:
    """LMDB maps its file of locks into memory: without room for it the process would end by SIGBUS."""
    (disk / "task" / "cache" / "lock.mdb").unlink()
    before = (disk / "task" / "cache" / "data.mdb").read_bytes()
    with filled(disk, left):
        assert main(["export", str(disk / "out" / "x.fewsam"), "--task", str(disk / "task")]) == 1
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ") and "no space left on the disk of" in last and "cache" in last
    assert (disk / "task" / "cache" / "data.mdb").read_bytes() == before
