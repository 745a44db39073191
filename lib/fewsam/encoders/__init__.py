"""Frozen image encoders behind one contract: uint8 slices in, ``image_embeddings (N, 256, 64, 64)`` out."""

from fewsam.encoders.registry import Encoder, EncoderInfo, build_encoder, encoder_info, sam_decoder_state

__all__ = ["Encoder", "EncoderInfo", "build_encoder", "encoder_info", "sam_decoder_state"]
