"""Which label belongs to which image: never one to two."""

from __future__ import annotations

from pathlib import Path

import pytest

from fewsam.core.errors import ImageError, LabelError
from fewsam.images.casefiles import by_id, match_labels


def make(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return [folder / name for name in names]


def test_images_of_one_name_do_not_share_a_label(tmp_path: Path) -> None:
    one, other, third = make(tmp_path, "patA/s.png", "patB/s.png", "patB/t.png")
    make(tmp_path, "labels/s.png", "labels/t.png")
    with pytest.raises(LabelError, match=r"labels/s\.png fits .*patA/s\.png and .*patB/s\.png; rename one"):
        match_labels([one, other, third], tmp_path / "labels")
    assert match_labels([one, third], tmp_path / "labels") == {
        one: tmp_path / "labels/s.png",
        third: tmp_path / "labels/t.png",
    }


def test_ids_tell_images_apart_or_are_refused(tmp_path: Path) -> None:
    one, other, third = make(tmp_path, "patA/s.png", "patB/s.png", "patB/t.nii.gz")
    assert by_id([one, third]) == {"s": one, "t": third}
    with pytest.raises(ImageError, match="have the same name; rename one of them"):
        by_id([one, third, other])
