"""Smooth random shapes, to be drawn and resampled."""

import numpy as np
import torch


def blob(shape, seed, share=0.5):
    """Smooth random blobs as a bool mask."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.normal(size=(1, 1, 5, 5)))
    field = torch.nn.functional.interpolate(coarse, size=shape, mode="bicubic", align_corners=True)[0, 0].numpy()
    return field > np.quantile(field, 1 - share)
