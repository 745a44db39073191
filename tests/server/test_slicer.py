"""What 3D Slicer's MONAI Label module sends, replayed: through MONAI Label's own client, which the module uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from fewsam.evaluation.reliability.studies import make_studies
from fewsam.images.labelwrite import write_native_masks
from helpers.server_harness import MODEL, Server

# Slicer loads what is sent back as a volume beside the image's own.
RESULT = {"result_extension": ".nii.gz", "result_dtype": "uint8", "result_compress": False}


@pytest.fixture(scope="module")
def slicer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    root = tmp_path_factory.mktemp("slicer")
    truth = make_studies(root / "studies", ("a", "b", "c"))
    with Server(root / "server", root / "studies", {"labels": "ball,box", "precompute": "false"}) as server:
        yield SimpleNamespace(server=server, truth=truth, studies=root / "studies", root=root)


def affine(slicer: SimpleNamespace, image: str) -> np.ndarray:
    return np.asarray(nib.load(slicer.studies / f"{image}.nii.gz").affine)


def kept(slicer: SimpleNamespace, image: str) -> np.ndarray:
    """What the server shows of an image, (i, j, k)."""
    return np.asarray(slicer.server.infer(image, **RESULT)[0])


def test_the_next_sample_is_downloaded_as_a_volume(slicer: SimpleNamespace) -> None:
    client = slicer.server.client
    sample = client.next_sample("random", {})
    assert sample["id"] in slicer.truth
    # The module looks for the path first, and downloads where that is on another machine.
    status, body, _, _ = _utils().http_method("GET", slicer.server.url, f"/datastore/image?image={sample['id']}")
    assert status == 200 and body == Path(sample["path"]).read_bytes()


def test_segments_with_skipping_numbers_go_by_their_names(slicer: SimpleNamespace) -> None:
    """The module numbers segments in the list, helpers included, and writes values 1, 2, ... of those it exports."""
    truth = slicer.truth["a"]
    voxels = np.zeros_like(truth)
    voxels[:, :, 4:6] = np.select([truth == 2, truth == 1], [1, 2])[:, :, 4:6]  # box is the first segment
    file = slicer.root / "label.nii.gz"
    nib.save(nib.Nifti1Image(voxels, affine(slicer, "a")), file)
    info = [{"name": "box", "idx": 2}, {"name": "ball", "idx": 4}]
    answer = slicer.server.client.save_label("a", str(file), params={"label_info": info, "client_id": "slicer"})
    assert answer["added"] == [4, 5]
    np.testing.assert_array_equal(kept(slicer, "a")[:, :, 4:6], truth[:, :, 4:6])


def test_a_segmentation_with_layers_keeps_what_overlaps(slicer: SimpleNamespace) -> None:
    truth = slicer.truth["b"]
    drawn = np.isin(np.arange(truth.shape[2]), (4, 5))
    masks = {"box": (truth == 2) & drawn, "foreground_scribbles": drawn & (truth >= 0), "Ball": (truth == 1) & drawn}
    masks["Ball"] = masks["Ball"] | np.roll(masks["box"], 1, axis=0)
    file = slicer.root / "label.seg.nrrd"
    write_native_masks(file, masks, affine(slicer, "b"))
    info = [{"name": name, "idx": n} for n, name in enumerate(masks, start=1)]
    answer = slicer.server.client.save_label("b", str(file), params={"label_info": info})
    assert answer["added"] == [4, 5] and answer["new_classes"] == []
    shown = kept(slicer, "b")
    np.testing.assert_array_equal((shown == 2)[:, :, 4:6], masks["box"][:, :, 4:6])  # box is listed last, so on top
    np.testing.assert_array_equal((shown == 1)[:, :, 4:6], (masks["Ball"] & ~masks["box"])[:, :, 4:6])


def test_an_answer_has_two_parts_a_volume_on_the_images_grid_and_its_names(slicer: SimpleNamespace) -> None:
    file, params = slicer.server.client.infer(MODEL, "c", {**RESULT, "label_info": [], "restore_label_idx": False})
    answer = nib.load(file)
    assert file.endswith(".nii.gz") and answer.get_data_dtype() == np.uint8
    assert answer.shape == slicer.truth["c"].shape
    np.testing.assert_allclose(answer.affine, affine(slicer, "c"))
    assert params["label_names"] == {"ball": 1, "box": 2}


def test_an_image_that_only_slicer_has_is_worked_on_in_a_session(slicer: SimpleNamespace) -> None:
    client = slicer.server.client
    session = client.create_session(str(slicer.studies / "c.nii.gz"))["session_id"]
    assert client.get_session(session)
    file, params = client.infer(MODEL, "", RESULT, session_id=session)
    assert nib.load(file).shape == slicer.truth["c"].shape and params["pasted"] == []
    client.remove_session(session)


@pytest.mark.parametrize(
    "points",
    [
        {"foreground": [[12, 18, 7]], "background": [[30, 30, 7]], "label": "ball"},  # its deepgrow effect
        {"ball": [[12, 18, 7]], "box": [], "background": [[30, 30, 7]]},  # its deepedit effect
    ],
    ids=["deepgrow", "deepedit"],
)
def test_points_of_its_interactive_effects(slicer: SimpleNamespace, points: dict[str, Any]) -> None:
    info = slicer.server.client.info()["models"]["points"]
    assert info["type"] in ("deepgrow", "deepedit")  # under which the module lists it
    file, _ = slicer.server.client.infer("points", "a", {**RESULT, **points})
    voxels = np.asarray(nib.load(file).dataobj)
    assert voxels.shape == slicer.truth["a"].shape
    assert voxels[12, 18, 7] and not voxels[30, 30, 7]


def _utils() -> Any:
    from monailabel.client.client import MONAILabelUtils

    return MONAILabelUtils
