"""The slices that nobody labelled, as self-training reads them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewsam.collection import Shot
from fewsam.core.config import Settings
from fewsam.core.errors import FewSAMError
from fewsam.encoders.embedder import Embedder
from fewsam.encoders.slices import EncoderSlices
from fewsam.fewshot.inference.fusion import atlas_weight
from fewsam.fewshot.model.decoder import Prompts
from fewsam.fewshot.model.prompts import SupportBank, slice_descriptors
from fewsam.fewshot.registration.atlas import Atlases
from fewsam.fewshot.registration.propagation import Propagation
from fewsam.fewshot.registration.registration import Fields
from fewsam.fewshot.selftraining.constants import SELF_TRAINING
from fewsam.fewshot.selftraining.sampling import candidates, looked_at, same_kind, spread_out
from fewsam.images.frame import make_frame
from fewsam.images.preprocess import detail_bytes
from fewsam.images.volume import Volume

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class UnlabelledSlice:
    """A slice that nobody labelled.

    Attributes:
        image_id, slice: Where it is.
        image: (3, S, S) uint8, the encoder's input, by which the cache knows its embedding.
        detail: (D, D) uint8.
        relative_z: Its place along the volume, 0 to 1.
        is_2d_image: It is an image of its own.
    """

    image_id: str
    slice: int
    image: np.ndarray
    detail: np.ndarray
    relative_z: float
    is_2d_image: bool


@dataclass(frozen=True)
class Hints:
    """What is known of an unlabelled slice beside the decoder's answer, from some of the labelled slices.

    Attributes:
        prompts: Of this one query.
        propagated, atlas_log_probs, atlas_weight: As `fewsam.fewshot.inference.fusion` pools them; float16.
    """

    prompts: Prompts
    propagated: Tensor | None
    atlas_log_probs: Tensor | None
    atlas_weight: float


OpenVolume = Callable[[str], Volume]  # an image of the studies by its id; raises FewSAMError where it cannot be read


def find_slices(
    images: Sequence[str],
    open_volume: OpenVolume,
    shots: Sequence[Shot],
    bank: SupportBank,
    settings: Settings,
    embedder: Embedder,
    detail_size: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[UnlabelledSlice]:
    """Encoded slices of ``images`` that show what the labelled slices show, chosen to cover them; the same for the same
    arguments. An image that cannot be read or is not encoded is passed over.

    Args:
        images: Ids. Where there are more than a run takes, they are looked at in an order that is drawn, until as many
            as it takes are of use: of many images few may still be in the cache.
        shots: All labelled slices of the task; they are left out.
        bank: These as prompts.
    """
    rng = np.random.default_rng(settings.seed)
    labelled = bank.descriptors.cpu().numpy()
    drawn = {(shot.image.content_hash, shot.slice) for shot in shots}
    places: list[tuple[str, int]] = []
    descriptors: list[np.ndarray] = []

    def read(image_id: str, slices: Sequence[int] | None = None) -> Iterator[UnlabelledSlice]:
        volume = open_volume(image_id)
        wanted = candidates(volume.depth) if slices is None else slices
        unlabelled = [z for z in wanted if (volume.content_hash, z) not in drawn]
        return _encoded_slices(image_id, volume, unlabelled, settings, embedder, detail_size)

    for image_id in looked_at(images, settings.seed):
        if should_stop() or len(descriptors) == SELF_TRAINING.images:
            break
        try:  # one slice at a time: the inputs of an encoder of a thousand pixels are 3 MB each
            described = {one.slice: _descriptor(one, embedder) for one in read(image_id)}
        except FewSAMError as error:
            logger.info("%s is not learnt from: %s", image_id, error)
            continue
        if described and same_kind(np.concatenate(list(described.values())), labelled):
            places += [(image_id, z) for z in described]
            descriptors.append(np.concatenate(list(described.values())))
    if not places:
        return []
    chosen: dict[str, list[int]] = {}
    for i in spread_out(np.concatenate(descriptors), SELF_TRAINING.slices, rng):
        chosen.setdefault(places[i][0], []).append(places[i][1])
    found: list[UnlabelledSlice] = []
    for image_id, slices in chosen.items():
        try:
            found += read(image_id, slices)
        except FewSAMError as error:
            logger.info("%s is not learnt from: %s", image_id, error)
    return found


def _encoded_slices(
    image_id: str, volume: Volume, wanted: Sequence[int], settings: Settings, embedder: Embedder, detail_size: int
) -> Iterator[UnlabelledSlice]:
    """The slices of a volume whose embeddings are at hand or can be made here."""
    slices, geometry = EncoderSlices(volume, settings, embedder), volume.geometry
    frame = make_frame(geometry.slices_shape, geometry.spacing, detail_size)
    for z in wanted:
        raw = slices.raw([z])
        image = slices.inputs(raw)
        if embedder.cached_only and embedder.missing(image):
            continue
        detail = detail_bytes(raw, slices.intensity, frame)[0]
        relative_z = z / max(1, volume.depth - 1)
        yield UnlabelledSlice(image_id, z, image[0], detail, relative_z, volume.depth == 1)


def _descriptor(one: UnlabelledSlice, embedder: Embedder) -> np.ndarray:
    """(1, F) float32, a unit vector."""
    return slice_descriptors(embeddings([one], embedder)).cpu().numpy()


def embeddings(slices: Sequence[UnlabelledSlice], embedder: Embedder) -> Tensor:
    """image_embeddings (N, 256, 64, 64) float of some slices, from the cache, on the task's device."""
    return embedder.tensor(np.stack([one.image for one in slices]), priority=False)


@torch.inference_mode()
def hints_for(
    slices: Sequence[UnlabelledSlice],
    open_volume: OpenVolume,
    shots: Sequence[Shot],
    classes: Sequence[str],
    bank: SupportBank,
    subset: Tensor,
    settings: Settings,
    embedder: Embedder,
    fields: Fields,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Hints]:
    """What ``shots`` say of each slice: as prompts, carried along its volume, and as atlases.

    Args:
        shots: The labelled slices that may be used, which are the entries ``subset`` of ``bank``.
        classes: In the order of the logits, background left out.
        fields: Registrations, kept by the caller: the same pairs of slices come again with other ``shots``.
    """
    atlases = Atlases(shots, classes, settings) if settings.atlas else None
    by_image: dict[str, list[int]] = {}
    for number, one in enumerate(slices):
        by_image.setdefault(one.image_id, []).append(number)
    hints: dict[int, Hints] = {}
    for image_id, numbers in by_image.items():
        if should_stop():
            break
        volume = open_volume(image_id)
        intensity = EncoderSlices(volume, settings, embedder).intensity
        own = {shot.slice: shot for shot in shots if shot.image.content_hash == volume.content_hash}
        propagation = Propagation(volume, own if settings.propagate else {}, classes, intensity, fields)
        weight = atlas_weight(0.0, volume.depth, atlases.num_atlases(volume)) if atlases else 0.0
        for number in numbers:
            if should_stop():  # a slice is registered to some atlases, which takes seconds
                break
            one = slices[number]
            known = embeddings([one], embedder)
            relative_z = torch.tensor([one.relative_z], device=bank.device)
            prompts = bank.prompts(known, relative_z, subset=subset, retrieve=settings.retrieve)
            frame = make_frame(volume.geometry.slices_shape, volume.geometry.spacing, one.detail.shape[-1])
            carried = propagation([one.slice], frame)
            voted = atlases.log_probs(volume, [one.slice], intensity, fields, frame) if atlases else None
            hints[number] = Hints(prompts, _half(carried, bank.device), _half(voted, bank.device), weight)
    return [hints[number] for number in range(len(slices)) if number in hints]


def _half(maps: Tensor | None, device: torch.device) -> Tensor | None:
    return None if maps is None else maps.half().to(device)
