"""What a worker process does with an encoder: it is built once, and encodes whatever comes."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch

from fewsam.core.config import Settings
from fewsam.core.device import resolve_device
from fewsam.core.errors import ConfigError
from fewsam.encoders import Encoder, build_encoder, encoder_info
from fewsam.encoders.embedder import BATCH, embed_batch

_built: dict[tuple[str, str, str], Encoder] = {}
_lock = threading.Lock()


def built_encoder(settings: Settings, device: torch.device) -> Encoder:
    """The encoder of ``settings``, built at most once in this process.

    Raises:
        CheckpointError: its weights cannot be had.
    """
    key = encoder_info(settings).fingerprint, settings.engine, str(device)
    with _lock:
        if key not in _built:
            _built[key] = build_encoder(settings, device)
        return _built[key]


def encode_batch(settings: dict[str, Any], fingerprint: str, slices: np.ndarray) -> np.ndarray:
    """Embeddings (N, 256, 64, 64) float16 of packed slices, in steps that fit this worker's device.

    Args:
        settings: Of the task, as JSON has them.
        fingerprint: Of the encoder there.
        slices: As `packed` makes them.

    Raises:
        ConfigError: this worker has other weights.
        CheckpointError: it has none.
    """
    given = Settings(**settings)
    check_encoder(given, fingerprint)
    encoder = built_encoder(given, resolve_device(given.device))
    step = 1 if encoder.device.type == "cpu" else BATCH
    whole = np.broadcast_to(slices, (len(slices), 3, *slices.shape[2:]))
    steps = (whole[start : start + step].copy() for start in range(0, len(whole), step))
    return np.concatenate([embed_batch(encoder, one) for one in steps])


def check_encoder(settings: Settings, fingerprint: str) -> None:
    """Refuse to compute with other weights than those that the task's embeddings are of.

    Raises:
        ConfigError: this process would.
    """
    if encoder_info(settings).fingerprint != fingerprint:
        raise ConfigError(
            f"a worker has other weights of the encoder {settings.encoder} than this machine; give all the same file"
        )


def packed(slices: np.ndarray) -> np.ndarray:
    """Slices (N, 3, S, S) uint8 as they are sent: grey ones as (N, 1, S, S), a third of the bytes."""
    grey = (slices[:, :1] == slices[:, 1:]).all()
    return np.ascontiguousarray(slices[:, :1] if grey else slices)
