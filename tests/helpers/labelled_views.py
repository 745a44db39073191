"""Labelled slices with embeddings made by hand, for tests of prompts and probe."""

import torch

from fewsam.fewshot.model.prompts import LabelledView


def view(shot: int, signal: float = 1.0, z: float = 0.5, side: slice = slice(0, 32)) -> LabelledView:
    """Class 1 fills the columns ``side`` and differs in channel 0; class 2 is nowhere."""
    generator = torch.Generator().manual_seed(shot)
    mask = torch.zeros(3, 64, 64)
    mask[1, :, side] = 1
    mask[0] = 1 - mask[1]
    embedding = torch.randn(256, 64, 64, generator=generator) * 0.1
    embedding[0] += signal * (2 * mask[1] - 1) * 3
    return LabelledView(shot, embedding, mask, torch.ones(3, dtype=torch.bool), z)
