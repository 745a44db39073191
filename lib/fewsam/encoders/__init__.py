"""Frozen image encoders behind one contract: uint8 slices in, ``image_embeddings (N, 256, 64, 64)`` out."""

from fewsam.encoders.registry import (
    Encoder,
    EncoderInfo,
    build_encoder,
    describe_engine,
    encoder_info,
    prepare_engine,
    sam_decoder_state,
)

__all__ = [
    "Encoder",
    "EncoderInfo",
    "build_encoder",
    "describe_engine",
    "encoder_info",
    "prepare_engine",
    "sam_decoder_state",
]
