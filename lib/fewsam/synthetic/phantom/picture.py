"""A sheet of generated data: `python -m fewsam.synthetic.phantom.picture sample-data docs/images/phantom.png`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import nibabel as nib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

_COLOURS = ("#000000", "#e0822a", "#3fae49", "#e0343a", "#8b4fd0", "#2f7fe0", "#ff4fc0", "#e8e020", "#20c8d8")
_OPACITY = 0.5
_HEIGHTS = (0.16, 0.47, 0.60, 0.80)  # of the axial slices shown, as a share of the volume


def contact_sheet(folder: Path, target: Path, patients: int = 6) -> None:
    """Show CT and MR of several patients at several levels, with and without the truth; writes a PNG below 1 MB.

    Args:
        folder: a data set written by ``write_dataset``.
        target: the PNG.
        patients: rows of the sheet.
    """
    names = json.loads((folder / "truth" / "labels.json").read_text())
    titles = [*("CT" for _ in _HEIGHTS), "CT, coronal", "CT and truth", "MR", "MR and truth"]
    figure = Figure(figsize=(1.28 * len(titles), 1.03 * patients + 0.32), facecolor="black")
    grid = figure.subplots(patients, len(titles), squeeze=False)
    for row, number in zip(grid, range(1, patients + 1), strict=True):
        name = f"patient{number:02d}.nii.gz"
        ct, spacing = _read(folder / "ct" / name)
        mr, _ = _read(folder / "mr" / name)
        truth, _ = _read(folder / "truth" / "ct" / name)
        levels = [int(share * ct.shape[2]) for share in _HEIGHTS]
        soft, bright = (-160.0, 240.0), (0.0, float(np.percentile(mr, 99.6)))
        for axes, level in zip(row, levels, strict=False):
            _show(axes, ct[:, :, level], soft)
        middle = int(np.argmax((truth == 6).sum(axis=(0, 2))))  # through the aorta
        _show(row[4], ct[:, middle, :], soft, aspect=spacing[2] / spacing[0])
        _show(row[5], ct[:, :, levels[2]], soft, truth[:, :, levels[2]])
        _show(row[6], mr[:, :, levels[1]], bright)
        _show(row[7], mr[:, :, levels[1]], bright, truth[:, :, levels[1]])
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, color="white", fontsize=6, pad=2)
    handles = [Patch(color=_COLOURS[int(value)], label=name) for value, name in names.items()]
    legend = figure.legend(handles=handles, loc="lower center", ncols=len(handles), fontsize=6, frameon=False)
    for text in legend.get_texts():
        text.set_color("white")
    inch = 1.0 / figure.get_figheight()
    figure.subplots_adjust(left=0.0, right=1.0, top=1.0 - 0.13 * inch, bottom=0.17 * inch, wspace=0.01, hspace=0.01)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=150, facecolor="black")
    sheet = Image.open(target).convert("RGB").quantize(palette=_palette(), dither=Image.Dither.NONE)
    sheet.save(target, optimize=True)


def _palette() -> Image.Image:
    """256 colours: greys, and greys under each colour of the overlay. One byte a pixel keeps the file small."""
    shades = [(g, g, g) for g in np.linspace(0, 255, 64)]
    for colour in _COLOURS[1:]:
        over = np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)])
        shades += [tuple((1 - _OPACITY) * g + _OPACITY * over) for g in np.linspace(0, 255, 24)]
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.rint(shades).astype(np.uint8).ravel().tolist())
    return palette


def _read(path: Path) -> tuple[NDArray[np.float32], tuple[float, ...]]:
    image = nib.Nifti1Image.from_filename(path)
    return np.asarray(image.dataobj, np.float32), tuple(float(h) for h in image.header.get_zooms())


def _show(
    axes: Axes,
    plane: NDArray[np.float32],
    window: tuple[float, float],
    truth: NDArray[np.float32] | None = None,
    aspect: float = 1.0,
) -> None:
    """Draw a plane given in RAS+ order as a radiologist sees it: the patient's right on the left."""
    axes.imshow(np.rot90(plane[::-1]), cmap="gray", vmin=window[0], vmax=window[1], aspect=aspect)
    if truth is not None:
        shown = np.ma.masked_equal(np.rot90(truth[::-1]), 0)
        axes.imshow(shown, cmap=ListedColormap(_COLOURS), vmin=0, vmax=len(_COLOURS) - 1, alpha=_OPACITY,
                    interpolation="nearest", aspect=aspect)  # fmt: skip
    axes.axis("off")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="data set written by `fewsam phantom`")
    parser.add_argument("target", type=Path, help="PNG to write")
    arguments = parser.parse_args()
    contact_sheet(arguments.folder, arguments.target)
