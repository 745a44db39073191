"""MobileSAM's and LiteMedSAM's image encoders: a TinyViT that gives SAM's 64 x 64 grid.

TinyViT (Wu et al., ECCV 2022, https://arxiv.org/abs/2207.10666) as MobileSAM uses it (Zhang et al. 2023,
https://arxiv.org/abs/2306.14289), with the last downsampling left out. LiteMedSAM's patches are single pixels, so that
256 px give the grid for which MobileSAM takes 1024. Names and shapes are the checkpoints'. timm's TinyViT has other
names, always four downsamplings and no neck, so that more would have to be bent there than is written here. For
inference alone: batch norms are folded into their convolutions when a checkpoint is loaded.

What fewsam takes of LiteMedSAM as embedding are its last two stages together, whitened: 256 directions, the strongest
on generated patients (`tools/whiten_medsam.py`, docs/research/medsam.md). Its own decoder takes the plain output;
MobileSAM is used with that alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from fewsam.core.errors import CheckpointError
from fewsam.images.resize import resize


@dataclass(frozen=True)
class Variant:
    """What tells one SAM's TinyViT from the other's: its name and its checkpoint's, side and stride of the two
    convolutions that embed patches, mean and standard deviation of the pixels in 0..255."""

    title: str
    file: str
    patch: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


LITE_MEDSAM = Variant("LiteMedSAM", "lite_medsam.pth", (1, 1), (0, 0, 0), (255, 255, 255))
MOBILE_SAM = Variant("MobileSAM", "mobile_sam.pt", (3, 2), (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
VARIANTS = {"medsam_lite": LITE_MEDSAM, "mobile_sam": MOBILE_SAM}  # as the settings name them
WIDTHS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
HEADS = (0, 4, 5, 10)  # the first stage convolves
WINDOWS = (0, 7, 14, 7)
STRIDES = (2, 2, 1)  # after each stage but the last
EXPANSION = 4
GRID = 64
_CLASSIFIER = ("norm_head.", "head.")  # left over from training on ImageNet in MobileSAM's checkpoint, and never run
WHITENING = Path(__file__).parent / "weights" / "medsam_lite_whitening.safetensors"


class _Conv(nn.Module):
    """A convolution without bias and a batch norm, ``c`` and ``bn`` as in checkpoints."""

    def __init__(self, inputs: int, outputs: int, side: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c: nn.Conv2d = nn.Conv2d(inputs, outputs, side, stride, side // 2, groups=groups, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.c(x))

    def fold(self) -> None:
        """One convolution with a bias for both."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.c = nn.utils.fusion.fuse_conv_bn_eval(self.c, self.bn)
            self.bn = nn.Identity()


class _MBConv(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width * EXPANSION
        self.conv1 = _Conv(width, inner)
        self.conv2 = _Conv(inner, inner, 3, groups=inner)
        self.conv3 = _Conv(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class _Downsample(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _Conv(inputs, outputs)
        self.conv2 = _Conv(outputs, outputs, 3, stride, groups=outputs)
        self.conv3 = _Conv(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))


class _Attention(nn.Module):
    """Multi-head attention within windows; a learned bias for each distance of two cells along the axes."""

    offsets: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        place = torch.arange(window * window)
        row, col = place // window, place % window
        apart = (row[:, None] - row).abs() * window + (col[:, None] - col).abs()
        self.register_buffer("offsets", apart, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, window * window, width) -> the same."""
        # each head's query, key and value lie side by side in the projection
        parts = self.qkv(self.norm(x)).unflatten(-1, (self.heads, 3, -1)).permute(3, 0, 2, 1, 4)
        bias = self.attention_biases[:, self.offsets]
        found = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=bias)
        return self.proj(found.transpose(1, 2).flatten(2))


class _MLP(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, EXPANSION * width)
        self.fc2 = nn.Linear(EXPANSION * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = _Attention(width, heads, window)
        self.local_conv = _Conv(width, width, 3, groups=width)
        self.mlp = _MLP(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attend(x)
        x = self.local_conv(x)
        return x + self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def _attend(self, x: Tensor) -> Tensor:
        """Attention within windows; those at the end are filled up with zeros, which take part, as in training."""
        w, (height, width) = self.window, x.shape[-2:]
        x = F.pad(x, (0, -width % w, 0, -height % w))
        rows, columns = x.shape[-2] // w, x.shape[-1] // w
        windows = x.unflatten(3, (columns, w)).unflatten(2, (rows, w)).permute(0, 2, 4, 3, 5, 1)
        found = self.attn(windows.reshape(-1, w * w, x.shape[1]))
        found = found.reshape(-1, rows, columns, w, w, x.shape[1]).permute(0, 5, 1, 3, 2, 4)
        return found.flatten(4).flatten(2, 3)[..., :height, :width]


class _Stage(nn.Module):
    def __init__(self, index: int) -> None:
        super().__init__()
        width, heads, window = WIDTHS[index], HEADS[index], WINDOWS[index]
        self.blocks = nn.Sequential(
            *(_Block(width, heads, window) if heads else _MBConv(width) for _ in range(DEPTHS[index]))
        )
        last = index == len(WIDTHS) - 1
        self.downsample = nn.Identity() if last else _Downsample(width, WIDTHS[index + 1], STRIDES[index])

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(self.blocks(x))


class _PatchEmbed(nn.Module):
    def __init__(self, side: int, stride: int) -> None:
        super().__init__()
        half = WIDTHS[0] // 2
        self.seq = nn.Sequential(_Conv(3, half, side, stride), nn.GELU(), _Conv(half, WIDTHS[0], side, stride))

    def forward(self, x: Tensor) -> Tensor:
        return self.seq(x)


class TinyViTEncoder(nn.Module):
    """(N, 3, S, S) float in 0..255 -> (N, 256, 64, 64); S is the variant's, or another whose grid is then resized."""

    mean: Tensor
    std: Tensor

    def __init__(self, variant: Variant = LITE_MEDSAM) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(variant.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(variant.std).view(3, 1, 1), persistent=False)
        self.whitening: nn.Conv2d | None = None
        self.patch_embed = _PatchEmbed(*variant.patch)
        self.layers = nn.Sequential(*(_Stage(index) for index in range(len(WIDTHS))))
        self.neck = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], 256, 1, bias=False),
            LayerNorm2d(256),
            nn.Conv2d(256, 256, 3, padding=1, bias=False),
            LayerNorm2d(256),
        )

    def stages(self, slices: Tensor) -> Tensor:
        """What enters the last stage, and the output: (N, 320 + 256, G, G), G a quarter of the embedded patches."""
        before = self.layers[:-1](self.patch_embed((slices - self.mean) / self.std))
        return torch.cat([before, self.neck(self.layers[-1](before))], dim=1)

    def whiten(self, mean: Tensor, matrix: Tensor) -> None:
        """Let the embedding be ``matrix`` (256, 576) times the stages' difference from ``mean`` (576,)."""
        whitening = nn.Conv2d(matrix.shape[1], matrix.shape[0], 1)
        whitening.weight.data = matrix[:, :, None, None].float()
        whitening.bias = nn.Parameter(-(matrix.float() @ mean.float()))
        self.whitening = whitening

    def fold(self) -> TinyViTEncoder:
        """Batch norms into their convolutions: the same answers, faster. For a network in evaluation mode."""
        for part in self.modules():
            if isinstance(part, _Conv):
                part.fold()
        return self

    def forward(self, slices: Tensor) -> Tensor:
        features = self.stages(slices)
        features = features[:, -256:] if self.whitening is None else self.whitening(features)
        if features.shape[-1] != GRID:
            features = resize(features, GRID)
        return features


def build_tinyvit(
    state: Mapping[str, Tensor], source: str, whiten: bool, variant: Variant = LITE_MEDSAM
) -> TinyViTEncoder:
    """The image encoder of a checkpoint, ready for inference.

    Args:
        state: What `fewsam.encoders.sam.read_sam_checkpoint` gave.
        source: What to call the checkpoint in an error.
        whiten: False for the embedding that the checkpoint's own decoder takes; true for LiteMedSAM alone.

    Raises:
        CheckpointError: it is of another architecture, or parts of it are missing.
    """
    with torch.random.fork_rng(devices=[]):  # layers are made with weights of chance, and a seed stays as it was
        return _built(state, source, whiten, variant)


def _built(state: Mapping[str, Tensor], source: str, whiten: bool, variant: Variant) -> TinyViTEncoder:
    network = TinyViTEncoder(variant)
    prefix = "image_encoder."
    weights = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    weights = {key: value for key, value in weights.items() if not key.startswith(_CLASSIFIER)}
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in weights.items()}
    if wanted != given:
        other = sorted(key for key in {*wanted, *given} if wanted.get(key) != given.get(key))
        raise CheckpointError(
            f"{source} is no {variant.title} checkpoint: {other[0]!r} of its image encoder differs "
            f"(and {len(other) - 1} more); set the encoder to what it is, or the checkpoint to {variant.file}"
        )
    network.load_state_dict({key: value.clone() for key, value in weights.items()})
    network.eval().fold()
    if whiten:
        network.whiten(**load_file(WHITENING))
    return network
