"""A sheet of generated episodes, to be looked at: images that would make a radiologist laugh teach the same."""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

from fewsam.synthetic.pretraining.episodes import CLASSES, draw_episode

_SIZE = 128
_COLUMNS = 6


def save_sheet(path: Path, pool: tuple[Tensor, Tensor], seed: int, episodes: int = 6) -> None:
    """Write a PNG with an episode a row: slices, each with its masks beside it in colour."""
    generator = Generator().manual_seed(seed)
    hues = [colorsys.hsv_to_rgb(index / CLASSES, 0.9, 1.0) for index in range(CLASSES)]
    colours = np.array([(0.0, 0.0, 0.0), *hues]) * 255
    rows = []
    for _ in range(episodes):
        drawn = draw_episode(generator, 2 * _COLUMNS, _SIZE, _SIZE // 4, pool)
        grey = drawn.images[::2].numpy()[..., None].repeat(3, axis=-1)
        label = F.interpolate(drawn.masks[::2], _SIZE, mode="bilinear").argmax(1).numpy()
        shown = np.where(label[..., None] > 0, 0.5 * grey + 0.5 * colours[label], grey)
        rows.append(np.concatenate([part for pair in zip(grey, shown, strict=True) for part in pair], axis=1))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows).astype(np.uint8)).save(path, optimize=True)
