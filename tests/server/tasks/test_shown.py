"""What a viewer shows: drawn slices over the answer that was served last, if that still fits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fewsam.images.volume import Volume
from fewsam.server.tasks.opening import settings_for
from fewsam.server.tasks.shown import served_labelmap, shown_labelmap
from fewsam.workspace.workspace import Workspace
from helpers import tiny_task


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    tiny_task.write_case(tmp_path, "a")
    settings, _ = settings_for({**tiny_task.QUICK, "labels": "liver,spleen"}, str(tmp_path / "images"))
    workspace = Workspace(settings, tmp_path / "model")
    yield workspace
    workspace.close()


@pytest.fixture
def volume(workspace: Workspace, tmp_path: Path) -> Volume:
    return workspace.volume(str(tmp_path / "images" / "a.nii.gz"))


def test_a_drawn_slice_lies_over_what_was_served(workspace: Workspace, volume: Volume) -> None:
    served = np.full(volume.slices.shape[:3], 1, np.uint8)
    workspace.collection.remember_served("a", served, ("liver", "spleen"), 7)
    drawn = np.zeros(served.shape, bool)
    drawn[2, :3, :3] = True
    workspace.collection.submit(volume, "a", {"liver": drawn}, absent_classes="complete", complete_slices={2})
    labels, version = shown_labelmap(workspace.collection, "a", volume, workspace.collection.classes)
    assert version == 7
    expected = served.copy()
    expected[2] = drawn[2]
    assert np.array_equal(labels, expected)


def test_an_answer_is_shown_by_what_its_values_meant(workspace: Workspace, volume: Volume) -> None:
    """Of classes in another order, and without those that are none any more."""
    served = np.full(volume.slices.shape[:3], 1, np.uint8)
    served[1], served[2] = 2, 3
    workspace.collection.remember_served("a", served, ("spleen", "liver", "aorta"), 7)
    labels, version = shown_labelmap(workspace.collection, "a", volume, workspace.collection.classes)
    assert version == 7
    assert (labels[0] == 2).all() and (labels[1] == 1).all() and not labels[2].any()
    found = served_labelmap(workspace.collection, "a", served.shape, workspace.collection.classes)
    assert found is not None and np.array_equal(found[0], labels)


def test_an_answer_of_another_shape_is_not_shown_and_an_earlier_list_of_classes_is_enough(
    workspace: Workspace, volume: Volume
) -> None:
    shape = volume.slices.shape[:3]
    workspace.collection.remember_served("a", np.ones((shape[0] + 1, *shape[1:]), np.uint8), ("liver", "spleen"), 7)
    assert shown_labelmap(workspace.collection, "a", volume, workspace.collection.classes)[1] is None
    workspace.collection.remember_served("a", np.ones(shape, np.uint8), ("liver",), 8)  # before there was a spleen
    labels, version = shown_labelmap(workspace.collection, "a", volume, workspace.collection.classes)
    assert version == 8 and labels.all()


def test_of_an_uploaded_image_nothing_is_known(workspace: Workspace, volume: Volume) -> None:
    labels, version = shown_labelmap(workspace.collection, None, volume, workspace.collection.classes)
    assert version is None and labels.shape == volume.slices.shape[:3] and not labels.any()
