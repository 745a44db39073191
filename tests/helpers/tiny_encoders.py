"""What the encoders' tests share: slices, settings, and a small SAM that stands for ViT-B."""

from functools import partial
from typing import Any

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from fewsam.core.config import Settings, load_settings


def slices(count: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def settings(**values: Any) -> Settings:
    """Settings of the compact encoder, which is quick, unless ``values`` name another, computed by torch."""
    return load_settings(overrides={"encoder": "compact", "engine": "torch", **values})


def tiny_sam(depth: int = 2, width: int = 32) -> Sam:
    vit = ImageEncoderViT(
        depth=depth,
        embed_dim=width,
        img_size=256,
        mlp_ratio=4,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        num_heads=2,
        patch_size=16,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=[1],
        window_size=7,
        out_chans=256,
    )
    prompt = PromptEncoder(embed_dim=256, image_embedding_size=(16, 16), input_image_size=(256, 256), mask_in_chans=16)
    decoder = MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(depth=1, embedding_dim=256, mlp_dim=64, num_heads=2),
        transformer_dim=256,
    )
    return Sam(vit, prompt, decoder, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
