"""The one way in which maps are resized."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def resize(maps: Tensor, size: int | Sequence[int], *, antialias: bool = False) -> Tensor:
    """Resize maps (N, C, h, w) to (N, C, *size) bilinearly, so that the outer edges of the outer pixels coincide.

    Args:
        size: Height and width; one number stands for both.
        antialias: Average over the area of a target pixel where the target is smaller.
    """
    target = (size, size) if isinstance(size, int) else (size[0], size[1])
    return F.interpolate(maps, size=target, mode="bilinear", align_corners=False, antialias=antialias)
