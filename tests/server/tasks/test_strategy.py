"""Whom the server sends to which slice, beyond the ranking itself (test_acquisition)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from fewsam.server.errors import RequestError
from fewsam.server.tasks.index import ImageIndex
from fewsam.server.tasks.opening import settings_for
from fewsam.server.tasks.strategy import NextSlice
from fewsam.workspace.workspace import Workspace
from helpers import tiny_task

DEPTH = tiny_task.SHAPE[2]


class Listing:
    """The part of a datastore that the strategies ask; CT and MR as a PACS lists them."""

    def __init__(self, modalities: dict[str, str]) -> None:
        self.modalities = modalities

    def list_images(self) -> list[str]:
        return list(self.modalities)

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        return {"Modality": self.modalities[image_id]} if self.modalities[image_id] else {}


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    for name in ("a", "b", "c"):
        tiny_task.write_case(tmp_path, name)
    settings, _ = settings_for(tiny_task.QUICK, str(tmp_path / "images"))
    workspace = Workspace(settings, tmp_path / "model")
    yield workspace
    workspace.close()


def offers(workspace: Workspace, tmp_path: Path, modalities: dict[str, str], count: int) -> list[str]:
    """Images that as many annotators are sent to, one after the other."""
    index = ImageIndex(tmp_path / "index")
    following = NextSlice("informative", workspace, index, lambda name: str(tmp_path / "images" / f"{name}.nii.gz"))
    found = [following({"client_id": str(n)}, Listing(modalities)) for n in range(count)]
    assert len({(one["id"], one["slice"]) for one in found}) == count  # nobody is sent where another one is
    return [one["id"] for one in found]


def label(workspace: Workspace, tmp_path: Path, name: str, slices: range) -> None:
    volume = workspace.volume(str(tmp_path / "images" / f"{name}.nii.gz"))
    drawn = np.zeros(volume.slices.shape, bool)
    drawn[slices, 5:9, 5:9] = True
    workspace.collection.submit(volume, name, {"liver": drawn})


@pytest.mark.parametrize("odd", [{"exclude": 5}, {"skip": [{}], "image": "a"}, {"image": ["a"]}])
def test_an_odd_request_is_refused_by_name(workspace: Workspace, tmp_path: Path, odd: dict[str, Any]) -> None:
    index = ImageIndex(tmp_path / "index")
    following = NextSlice("informative", workspace, index, lambda name: str(tmp_path / "images" / f"{name}.nii.gz"))
    with pytest.raises(RequestError, match="is a list of names or numbers|is named by its id"):
        following(odd, Listing({"a": "CT"}))
    assert following({"seed": -1}, Listing({"a": "CT"}))["id"] == "a"


def test_labels_of_before_a_series_grew_hide_none_of_its_slices(workspace: Workspace, tmp_path: Path) -> None:
    label(workspace, tmp_path, "a", range(DEPTH))
    path = tmp_path / "images" / "a.nii.gz"
    image = nib.load(path)
    voxels = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image(np.concatenate([voxels[:, :, :1], voxels], axis=2), image.affine), path)
    assert offers(workspace, tmp_path, {"a": "CT"}, DEPTH + 1) == ["a"] * (DEPTH + 1)


def test_labels_are_asked_for_on_the_modality_that_has_them(workspace: Workspace, tmp_path: Path) -> None:
    modalities = {"a": "CT", "b": "MR", "c": "CT"}
    assert "b" in offers(workspace, tmp_path, modalities, 3)  # nothing is labelled: any image will do
    label(workspace, tmp_path, "a", range(2))
    assert set(offers(workspace, tmp_path, modalities, 10)) == {"a", "c"}


def test_once_a_modality_is_labelled_throughout_the_others_follow(workspace: Workspace, tmp_path: Path) -> None:
    modalities = {"a": "CT", "b": "MR", "c": "CT"}
    for name in ("a", "c"):
        label(workspace, tmp_path, name, range(DEPTH))
    assert set(offers(workspace, tmp_path, modalities, 3)) == {"b"}


def test_where_no_modality_is_known_all_images_take_part(workspace: Workspace, tmp_path: Path) -> None:
    label(workspace, tmp_path, "a", range(1))
    assert set(offers(workspace, tmp_path, {"a": "", "b": "", "c": ""}, 6)) == {"a", "b", "c"}
