"""The image encoder of SAM 2.1: Hiera, as timm has it, and the neck that SAM 2 puts on it.

timm is an optional extra (``requirements-sam2.txt``); nothing else of SAM 2 is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewsam.core.errors import CheckpointError, ConfigError
from fewsam.images.resize import resize

INSTALL = "pip install --no-deps -r requirements-sam2.txt"
STEP = 32  # the input's side is a multiple of it: cells of 4 pixels, in windows of 8 cells

# What sets the sizes apart, by timm's names for it; the first is Meta's default.
VARIANTS: dict[str, dict[str, Any]] = {
    "sam2.1_hiera_tiny": {"stages": (1, 2, 7, 2), "global_att_blocks": (5, 7, 9)},
    "sam2.1_hiera_small": {"stages": (1, 2, 11, 2), "global_att_blocks": (7, 10, 13)},
    "sam2.1_hiera_base_plus": {"embed_dim": 112, "num_heads": 2, "global_pos_size": (14, 14)},
    "sam2.1_hiera_large": {
        "embed_dim": 144,
        "num_heads": 2,
        "stages": (2, 6, 36, 4),
        "global_att_blocks": (23, 33, 43),
        "window_spec": (8, 4, 16, 8),
    },
}


class _Lateral(nn.Module):
    """A convolution of one pixel, named as in the checkpoint."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 256, 1)

    def forward(self, stage: Tensor) -> Tensor:
        found: Tensor = self.conv(stage)
        return found


class _Neck(nn.Module):
    """Stages at strides 4, 8, 16 and 32 -> (N, 256, G, G) at stride 16, the image embedding.

    SAM 2 gives its mask decoder two finer maps beside it, which the cache does not hold.
    """

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_Lateral(one) for one in reversed(channels))  # the coarsest first

    def forward(self, stages: list[Tensor]) -> Tensor:
        coarse, fine = self.convs[0](stages[3]), self.convs[1](stages[2])
        return fine + F.interpolate(coarse, scale_factor=2.0, mode="nearest")


class SAM2Encoder(nn.Module):
    """(N, 3, S, S) float in 0..255 -> (N, 256, 64, 64), S a multiple of `STEP`.

    Below 1024 pixels the position embedding is interpolated, as Hiera does at any size, and the smaller output resized.
    SAM 2's own decoder adds a constant to the embedding of a single image (``no_mem_embed``); ours needs none.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        self.trunk = hiera()(num_classes=0, **VARIANTS[name])
        self.trunk.head = nn.Identity()  # SAM 2 has none
        self.neck = _Neck([stage["num_chs"] for stage in self.trunk.feature_info])
        for what, value in (("mean", (123.675, 116.28, 103.53)), ("std", (58.395, 57.12, 57.375))):
            self.register_buffer(what, torch.tensor(value, device="cpu").view(3, 1, 1), persistent=False)

    def forward(self, slices: Tensor) -> Tensor:
        stages = self.trunk.forward_intermediates((slices - self.mean) / self.std, intermediates_only=True)
        features: Tensor = self.neck(stages)
        return features if features.shape[-1] == 64 else resize(features, 64)


def build_sam2(name: str, state: Mapping[str, Tensor], size: int, source: str) -> SAM2Encoder:
    """The image encoder of a checkpoint as Meta publishes it, ready for inference.

    Args:
        name: One of `VARIANTS`.
        state: What `fewsam.encoders.sam.read_sam_checkpoint` gave.
        size: Side of the input.
        source: What to call the checkpoint in an error.

    Raises:
        ConfigError: timm is not installed, or the input cannot be of this size.
        CheckpointError: the checkpoint is of another architecture, or parts of it are missing.
    """
    if size % STEP:
        raise ConfigError(f"input_size {size} does not fit {name}: use a multiple of {STEP}")
    with torch.device("meta"):  # no time and memory for random weights that are replaced at once
        network = SAM2Encoder(name)
    prefix = "image_encoder."
    weights = {_as_in_timm(key): value for key, value in state.items() if key.startswith(prefix)}
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in weights.items()}
    if wanted != given:
        other = sorted(key for key in {*wanted, *given} if wanted.get(key) != given.get(key))
        raise CheckpointError(
            f"{source} is no {name} checkpoint: {other[0]!r} of its image encoder differs (and {len(other) - 1} more); "
            f"set the encoder to what it is, or the checkpoint to {name}.pt"
        )
    network.load_state_dict({key: value.float().clone() for key, value in weights.items()}, assign=True)
    return network.eval()


def _as_in_timm(key: str) -> str:
    """The name that timm gives to a tensor of Meta's checkpoint."""
    name = key.removeprefix("image_encoder.")
    return name.replace("mlp.layers.0.", "mlp.fc1.").replace("mlp.layers.1.", "mlp.fc2.")


def hiera() -> Any:
    """timm's Hiera.

    Raises:
        ConfigError: timm is not installed.
    """
    try:
        from timm.models.hieradet_sam2 import HieraDet
    except ImportError:
        raise ConfigError(f"SAM 2.1's encoders need timm, which is not installed: {INSTALL}") from None
    return HieraDet
