"""Points on a slice: what is clicked follows, and what is far away stays."""

from __future__ import annotations

import numpy as np
import pytest

from fewsam.core.config import load_settings
from fewsam.fewshot.inference.clicks import ClickError
from fewsam.images.volume import Volume, load_volume
from fewsam.synthetic.phantom import write_dataset
from fewsam.workspace.workspace import Workspace

Z = 12


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Volume, np.ndarray]:
    folder = tmp_path_factory.mktemp("clicks")
    write_dataset(folder, patients=1, shape=(96, 76, 28))
    volume = load_volume(folder / "ct" / "patient01.nii.gz")
    truth = load_volume(folder / "truth" / "ct" / "patient01.nii.gz").slices
    workspace = Workspace(load_settings(None, {"encoder": "compact", "labels": ["liver", "spleen"]}), folder / "task")
    drawn = np.isin(np.arange(len(truth)), (9, 16))[:, None, None]
    workspace.collection.submit(volume, "p", {"liver": (truth == 1) & drawn, "spleen": (truth == 2) & drawn})
    return workspace, volume, truth


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


@pytest.mark.slow
def test_each_click_is_obeyed_and_the_mask_gets_better(task: tuple[Workspace, Volume, np.ndarray]) -> None:
    from scipy import ndimage

    workspace, volume, truth = task
    wanted = truth[Z] == 1
    include: list[tuple[int, int]] = []
    exclude: list[tuple[int, int]] = []
    shown = workspace.clicks.correct(volume, Z, "liver", [(0, 0)], []).before
    scores = [iou(shown, wanted)]
    for _ in range(4):
        wrong = [ndimage.distance_transform_edt(m) for m in (wanted & ~shown, shown & ~wanted)]
        side = int(wrong[1].max() > wrong[0].max())
        row, col = np.unravel_index(wrong[side].argmax(), wanted.shape)
        (include, exclude)[side].append((int(row), int(col)))
        result = workspace.clicks.correct(volume, Z, "Liver", include, exclude)
        shown = result.mask
        assert all(shown[p] for p in include) and not any(shown[p] for p in exclude)
        scores.append(iou(shown, wanted))
    assert scores[-1] > scores[0]


def test_a_click_does_not_reach_across_the_slice(task: tuple[Workspace, Volume, np.ndarray]) -> None:
    workspace, volume, truth = task
    result = workspace.clicks.correct(volume, Z, "spleen", [(2, 2)], [])  # air in the corner
    changed = np.argwhere(result.mask != result.before)
    assert len(changed) and np.hypot(*(changed - 2).T).max() < 0.4 * max(truth.shape[1:])


@pytest.mark.parametrize(
    ("name", "z", "include", "exclude", "says"),
    [
        ("liver", Z, [], [], "no click"),
        ("pancreas", Z, [(3, 3)], [], "no labelled slice yet"),
        ("liver", 99, [(3, 3)], [], "not among the image's slices"),
        ("liver", Z, [(3, 400)], [], "outside of the slice"),
        ("liver", Z, [(3, 3)], [(3, 3)], "as belonging and as not"),
    ],
)
def test_clicks_that_cannot_be_used(
    task: tuple[Workspace, Volume, np.ndarray], name: str, z: int, include: list, exclude: list, says: str
) -> None:
    workspace, volume, _ = task
    with pytest.raises(ClickError, match=says):
        workspace.clicks.correct(volume, z, name, include, exclude)
