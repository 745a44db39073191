"""Points, scribbles and boxes: each is obeyed, what it changes hangs together, and the neighbours follow."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from fewsam.core.config import load_settings
from fewsam.fewshot.inference.clicks import ClickError
from fewsam.fewshot.inference.corrections import Corrections
from fewsam.fewshot.inference.prompts import Prompt, box_of, line_pixels, sampled
from fewsam.fewshot.inference.smooth import connected_to, smoothed
from fewsam.fewshot.inference.spreading import Change, spread
from fewsam.images.volume import Volume, load_volume
from fewsam.synthetic.phantom import write_dataset
from fewsam.workspace.workspace import Workspace

Z = 12
EIGHT = np.ones((3, 3), bool)


# -- prompts as pixels


def test_a_line_passes_each_pixel_once_and_leaves_no_gap() -> None:
    pixels = line_pixels([(0, 0), (3, 7), (3, 2)])
    assert (pixels[0], pixels[-1], len(set(pixels))) == ((0, 0), (3, 2), len(pixels))
    mask = np.zeros((4, 8), bool)
    mask[tuple(np.array(pixels).T)] = True
    assert ndimage.label(mask, EIGHT)[1] == 1
    assert line_pixels([(2, 2), (2, 2)]) == [(2, 2)]


def test_samples_keep_the_ends() -> None:
    pixels = [(0, n) for n in range(100)]
    assert (len(sampled(pixels, 10)), sampled(pixels, 10)[0], sampled(pixels, 10)[-1]) == (10, (0, 0), (0, 99))
    assert sampled(pixels[:3], 10) == pixels[:3]


def test_a_box_holds_its_corners_in_any_order() -> None:
    assert box_of(Prompt("box", 0, True, ((5, 9), (2, 3)))) == (slice(2, 6), slice(3, 10))


# -- one piece, smooth


def test_only_the_parts_that_a_seed_touches_stay() -> None:
    mask = np.zeros((10, 10), bool)
    mask[1:3, 1:3] = mask[6:9, 6:9] = True
    seeds = np.zeros_like(mask)
    seeds[7, 7] = seeds[4, 4] = True  # the second lies in no part
    assert np.array_equal(connected_to(mask, seeds), np.where(np.indices(mask.shape).sum(0) > 10, mask, False))
    assert not connected_to(mask, np.zeros_like(mask)).any()


def test_smoothing_takes_spikes_near_the_change_alone() -> None:
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    mask[5:10, 15] = mask[30:35, 25] = True  # two spikes
    near = np.zeros_like(mask)
    near[5:12, 13:18] = True
    after = smoothed(mask, near)
    assert not after[5:9, 15].any()
    assert after[30:35, 25].all()


# -- on a real task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Volume, np.ndarray]:
    folder = tmp_path_factory.mktemp("corrections")
    write_dataset(folder, patients=1, shape=(96, 76, 28))
    volume = load_volume(folder / "ct" / "patient01.nii.gz")
    truth = load_volume(folder / "truth" / "ct" / "patient01.nii.gz").slices == 1
    workspace = Workspace(load_settings(None, {"encoder": "compact", "labels": ["liver"]}), folder / "task")
    drawn = np.isin(np.arange(len(truth)), (8, 17))[:, None, None]
    workspace.collection.submit(volume, "p", {"liver": truth & drawn})
    return workspace, volume, truth


def bitten(truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The truth without its right part on all slices, and what lacks of it: a model that missed a lobe."""
    columns = np.flatnonzero(truth[Z].any(0))
    middle = int((columns[0] + 2 * columns[-1]) / 3)
    lacks = truth.copy()
    lacks[:, :, :middle] = False
    return truth & ~lacks, lacks


def deepest(mask: np.ndarray) -> tuple[int, int]:
    row, col = np.unravel_index(ndimage.distance_transform_edt(mask).argmax(), mask.shape)
    return int(row), int(col)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


def test_a_scribble_mends_its_slice_in_one_piece(task: tuple[Workspace, Volume, np.ndarray]) -> None:
    workspace, volume, truth = task
    shown, lacks = bitten(truth)
    row, col = deepest(lacks[Z])
    scribble = Prompt("scribble", Z, True, ((row - 3, col), (row + 3, col)))
    change = Corrections(workspace.clicks).correct(volume, "Liver", [scribble], shown, drawn={8, 17}, propagate=False)[
        Z
    ]
    assert all(change.added[pixel] for pixel in line_pixels(scribble.points))
    assert (change.added & lacks[Z]).sum() > 0.8 * lacks[Z].sum()
    assert dice((shown[Z] | change.added) & ~change.removed, truth[Z]) > dice(shown[Z], truth[Z])
    assert ndimage.label(change.added, EIGHT)[1] == 1, "what a prompt adds hangs together"


def test_a_change_is_propagated_to_the_neighbours_until_a_drawn_slice(
    task: tuple[Workspace, Volume, np.ndarray],
) -> None:
    workspace, volume, truth = task
    shown, lacks = bitten(truth)
    mended = Change(lacks[Z], np.zeros_like(lacks[Z]))
    found = spread(workspace.clicks.propagation(volume), Z, mended, shown, fixed={9, 15})
    assert sorted(found) == [10, 11, 13, 14], "not on slices that stay, nor beyond them"
    for z, one in found.items():
        assert dice(shown[z] | one.added, truth[z]) > dice(shown[z], truth[z]) + 0.03, z
        assert ndimage.label(one.added, EIGHT)[1] == 1


def test_a_change_ends_where_the_tissue_is_another_one(task: tuple[Workspace, Volume, np.ndarray]) -> None:
    workspace, volume, truth = task
    shown, lacks = bitten(truth)
    slices = volume.slices.copy()
    slices[Z + 1][lacks[Z] | lacks[Z + 1]] = -900  # air in the place of the lobe
    other = Volume(slices, volume.geometry, volume.modality, "other")
    mended = Change(lacks[Z], np.zeros_like(lacks[Z]))
    found = spread(workspace.clicks.propagation(other), Z, mended, shown, fixed=())
    assert Z - 1 in found
    assert not any(z > Z for z in found)
    nothing = Change(np.zeros_like(lacks[Z]), np.zeros_like(lacks[Z]))
    assert spread(workspace.clicks.propagation(volume), Z, nothing, shown, fixed=()) == {}


def test_prompts_are_propagated_with_their_change(task: tuple[Workspace, Volume, np.ndarray]) -> None:
    workspace, volume, truth = task
    shown, lacks = bitten(truth)
    prompts = [Prompt("point", z, True, (deepest(lacks[z]),)) for z in (Z, Z + 2)]
    changes = Corrections(workspace.clicks).correct(volume, "liver", prompts, shown, drawn={8, 17})
    changed = sorted(z for z, change in changes.items() if change.any)
    assert {Z - 1, Z, Z + 1, Z + 2, Z + 3} <= set(changed)
    assert min(changed) > 8 and max(changed) < 17


def test_excluding_takes_away_what_hangs_together_with_it_and_its_own_pixels(
    task: tuple[Workspace, Volume, np.ndarray],
) -> None:
    workspace, volume, truth = task
    shown = truth.copy()
    shown[Z, 2:9, 2:9] = True  # a leak into the air, far from the liver
    point = Prompt("point", Z, False, ((5, 5),))
    changes = Corrections(workspace.clicks).correct(volume, "liver", [point], shown, propagate=False)
    assert list(changes) == [Z]
    assert changes[Z].removed[5, 5]
    assert changes[Z].removed[2:9, 2:9].mean() > 0.8
    elsewhere = changes[Z].removed.copy()
    elsewhere[:12, :12] = False
    assert not elsewhere.any() and not changes[Z].added.any()


def test_later_prompts_win_and_one_that_is_left_out_is_undone(task: tuple[Workspace, Volume, np.ndarray]) -> None:
    workspace, volume, truth = task
    shown, lacks = bitten(truth)
    at = deepest(lacks[Z])
    yes, no = Prompt("point", Z, True, (at,)), Prompt("point", Z, False, (at,))
    correct = Corrections(workspace.clicks).correct
    first = correct(volume, "liver", [yes], shown, propagate=False)[Z]
    assert first.added[at]
    assert not correct(volume, "liver", [yes, no], shown, propagate=False)[Z].added[at]
    again = correct(volume, "liver", [yes], shown, propagate=False)[Z]
    assert np.array_equal(again.added, first.added)


def test_a_box_holds_the_structure_and_an_excluding_one_none_of_it(task: tuple[Workspace, Volume, np.ndarray]) -> None:
    workspace, volume, truth = task
    rows, cols = np.flatnonzero(truth[Z].any(1)), np.flatnonzero(truth[Z].any(0))
    corners = ((int(rows[0]), int(cols[0])), (int(rows[-1]), int(cols[-1])))
    nothing = np.zeros_like(truth)
    box = Prompt("box", Z, True, corners)
    found = Corrections(workspace.clicks).correct(volume, "liver", [box], nothing, propagate=False)[Z].added
    assert dice(found, truth[Z]) > 0.6
    outside = found.copy()
    outside[box_of(box)] = False
    assert not outside.any()
    gone = Corrections(workspace.clicks).correct(
        volume, "liver", [Prompt("box", Z, False, corners)], truth, propagate=False
    )[Z]
    assert np.array_equal(gone.removed, truth[Z])


@pytest.mark.parametrize(
    "prompts",
    [
        [],
        [Prompt("point", 99, True, ((1, 1),))],
        [Prompt("point", Z, True, ((1000, 1),))],
        [Prompt("point", Z, True, ())],
        [Prompt("box", Z, True, ((1, 1),))],
        [Prompt("point", Z, True, ((1, 1), (2, 2)))],
    ],
)
def test_prompts_that_cannot_be_meant_are_refused(
    task: tuple[Workspace, Volume, np.ndarray], prompts: list[Prompt]
) -> None:
    workspace, volume, truth = task
    with pytest.raises(ClickError):
        Corrections(workspace.clicks).correct(volume, "liver", prompts, truth)
