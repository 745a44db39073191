"""Plots are looked at by people; here that they show what they were given."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread

from fewsam.evaluation.report.cells import Cell
from fewsam.evaluation.report.overlays import example_file
from fewsam.evaluation.report.plots import colour, crop, differences, draw_plots, iou_panel, painted, uncertainty_panel
from fewsam.evaluation.report.summary import summary


def cells() -> list[Cell]:
    made = []
    for k in (1, 10):
        for method, value in (("fewsam", 0.5), ("unet", 0.25)):
            for seed in (0, 1):
                one = Cell("a task", method, k, seed, {"liver": value + 0.1 * seed, "spleen": value}, 4.0, 1.0)
                if method == "fewsam":
                    one.calibration = [("v", z, "liver", z / 20, z / 10, 3, 3) for z in range(10)]
                made.append(one)
    return made


def test_a_panel_draws_means_over_seeds_against_k():
    axis = Figure().subplots()
    iou_panel(axis, summary(cells()), "mean", ["fewsam", "unet"])
    lines = {str(line.get_label()): line for line in axis.get_lines()}
    assert np.allclose(lines["fewsam"].get_xydata(), [(1, 0.525), (10, 0.525)])
    assert np.allclose(lines["unet"].get_ydata(), 0.275)
    assert axis.get_xscale() == "log" and axis.get_ylim() == (0, 1)
    one = Figure().subplots()
    iou_panel(one, summary(cells()), "liver", ["fewsam"])
    assert np.allclose(one.get_lines()[0].get_ydata(), 0.55)


def test_a_panel_of_uncertainty_shows_every_slice():
    axis = Figure().subplots()
    uncertainty_panel(axis, [cell for cell in cells() if cell.calibration], "fewsam")
    (dots,) = axis.collections
    assert len(dots.get_offsets()) == 4 * 10 and "1.00" in axis.get_title()


def test_files_for_each_task(tmp_path):
    given = cells()
    kept = {"classes": np.array(["liver"])}
    for kind in ("best", "median", "worst"):
        kept |= {f"{kind}_{name}": np.eye(8, dtype=np.uint8) for name in ("image", "truth", "found")}
        kept |= {f"{kind}_title": np.array("v, slice 1"), f"{kind}_numbers": np.array([1.0, 1.0])}
    file = example_file(tmp_path, given[4])  # K = 10, seed 0
    file.parent.mkdir()
    np.savez(file, **kept)
    made = draw_plots(given, tmp_path / "plots")
    names = [f"a_task-{kind}.png" for kind in ("k", "time", "examples", "uncertainty")]
    assert [path.name for path in made["a task"]] == names
    for path in made["a task"]:
        picture = imread(path)
        assert min(picture.shape[:2]) > 200 and np.ptp(picture[..., :3]) > 0.5  # not blank
    file.unlink()
    assert not any("examples" in path.name for path in draw_plots(given, tmp_path / "again")["a task"])


def test_what_is_missed_is_red_and_what_is_too_much_blue():
    truth, found = np.array([[0, 1, 1, 0]]), np.array([[0, 1, 2, 2]])
    layer = differences(truth, found)
    assert layer[0, :, 3].tolist() == [0, 0, 0.75, 0.75]
    assert layer[0, 2, 0] > layer[0, 2, 2] and layer[0, 3, 0] < layer[0, 3, 2]
    assert painted(truth)[0, :, 3].tolist() == [0, 0.55, 0.55, 0]


def test_ours_has_the_first_colour_whatever_the_order():
    assert colour(["unet", "fewsam"], "fewsam") == colour(["fewsam", "unet"], "fewsam")
    assert colour(["unet", "fewsam"], "unet") != colour(["unet", "fewsam"], "fewsam")


def test_crops_keep_a_margin_and_an_empty_slice_whole():
    mask = np.zeros((60, 60), bool)
    assert crop(mask) == (slice(None), slice(None))
    mask[30, 5] = True
    assert crop(mask) == (slice(18, 43), slice(0, 18))


def test_no_two_methods_share_a_colour():
    from fewsam.evaluation.methods.registry import METHODS

    assert len({colour(METHODS, method) for method in METHODS}) == len(METHODS)
