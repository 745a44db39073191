"""Per-pixel features of a slice, from its image and from what the frozen encoder knows of it.

A pretrained embedding says what a place is, on a coarse grid; the image says where its edges are. One small U-shaped
network reads both: the projected embedding joins at half of the working size, where a cell of it is two pixels. HQ-SAM
(Ke et al., 2023, https://arxiv.org/abs/2306.01567) and SAM 2 give their decoders finer features for the same reason.
Without a trained encoder, or as an ablation, `ImageFeatures` reads the image alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.networks.nets import UNet
from torch import Tensor, nn

from fewsam.images.resize import resize

EMBED_DIM = 256
SIDE = 128  # working size in pixels: twice the side of the embedding's grid
WIDTH = 64  # channels where image and embedding meet
FINE = 32  # channels at the working size
GRID = 64  # side of the embedding in cells
CHANNEL_DROPOUT = 0.2  # share of the embedding's channels hidden from a training step


class PixelFeatures(nn.Module):
    """(image, frozen embedding) of N slices -> features of every pixel of the working size.

    Args:
        features: Channels F of the result.

    Example:
        >>> PixelFeatures(16)(torch.zeros(2, 1, 192, 192), torch.zeros(2, 256, 64, 64)).shape
        torch.Size([2, 16, 128, 128])
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(EMBED_DIM, WIDTH, 1)
        self.project_norm = nn.InstanceNorm2d(WIDTH, affine=True)
        self.stem = _convolution(1, FINE // 2)
        self.halve = _convolution(FINE // 2, FINE, stride=2)
        self.middle = nn.Sequential(_convolution(WIDTH + FINE, WIDTH), _convolution(WIDTH, WIDTH))
        self.deep = nn.Sequential(_convolution(WIDTH, 2 * WIDTH), _convolution(2 * WIDTH, 2 * WIDTH))
        self.deepest = nn.Sequential(_convolution(2 * WIDTH, 2 * WIDTH), _convolution(2 * WIDTH, 2 * WIDTH))
        self.join_deep = nn.Conv2d(4 * WIDTH, 2 * WIDTH, 1)
        self.join_middle = _convolution(3 * WIDTH, WIDTH)
        self.join_fine = _convolution(WIDTH + FINE // 2, FINE)
        self.last = nn.Conv2d(FINE, features, 1)

    def forward(self, image: Tensor, image_embeddings: Tensor, coarse: bool = False) -> Tensor:
        """Features (N, F, 128, 128) of slices ``image`` (N, 1, D, D) float in [-1, 1] with ``image_embeddings``
        (N, 256, 64, 64) float, from the frozen encoder.

        Where ``coarse``, it works at half its size, in a third of the time: (N, F, 64, 64).
        """
        side = SIDE // 2 if coarse else SIDE
        fine = self.stem(fitted(image, side))
        half = self.halve(fine)
        known = F.dropout2d(image_embeddings, CHANNEL_DROPOUT, self.training)
        known = self.project_norm(self.project(fitted(known, half.shape[-1])))
        middle = self.middle(torch.cat([known, half], dim=1))
        deep = self.deep(F.avg_pool2d(middle, 2))
        deepest = fitted(self.deepest(F.avg_pool2d(deep, 2)), deep.shape[-1])
        deep = self.join_deep(torch.cat([deep, deepest], dim=1))
        middle = self.join_middle(torch.cat([middle, fitted(deep, middle.shape[-1])], dim=1))
        joined = self.join_fine(torch.cat([fitted(middle, side), fine], dim=1))
        features: Tensor = self.last(joined)
        return features


class ImageFeatures(nn.Module):
    """The same from the image alone: MONAI's residual U-Net at the full size."""

    def __init__(self, features: int) -> None:
        super().__init__()
        channels, strides = (16, 32, 64, 128, 256), (2, 2, 2, 2)
        self.model = UNet(2, 1, features, channels, strides, num_res_units=2, norm="INSTANCE").model

    def forward(self, image: Tensor, image_embeddings: Tensor, coarse: bool = False) -> Tensor:
        """Features (N, F, D, D) of slices ``image`` (N, 1, D, D), D a multiple of 16, of 32 where ``coarse``, which
        halves the slices first; the embedding is not read."""
        features: Tensor = self.model(F.avg_pool2d(image, 2) if coarse else image)
        return features


def fitted(x: Tensor, side: int) -> Tensor:
    """(N, C, h, h) at another side: bilinear where that is larger, averaged over areas where it is smaller."""
    if x.shape[-1] == side:
        return x
    return F.adaptive_avg_pool2d(x, side) if x.shape[-1] > side else resize(x, side)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1),
        nn.InstanceNorm2d(outputs, affine=True),
        nn.LeakyReLU(0.1, inplace=True),
    )


def embedding_tells(encoder: str, detail_size: int) -> bool:
    """Whether an embedding says more of a pixel than the slice itself does.

    That of random weights does not, nor that of slices with no more pixels than the embedding has cells
    (docs/research/decoder.md).

    Args:
        encoder: Its name in the settings.
        detail_size: Side in pixels of the slices as the decoder reads them.
    """
    return encoder != "compact" and detail_size > GRID
