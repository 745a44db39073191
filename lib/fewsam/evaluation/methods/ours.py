"""The methods compared: each learns from the labelled slices of a draw, then segments the tested volumes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewsam.collection import Collection
from fewsam.core.config import Settings
from fewsam.core.errors import ConfigError
from fewsam.encoders.embedder import Embedder
from fewsam.encoders.slices import EncoderSlices
from fewsam.evaluation.data.cases import Case
from fewsam.evaluation.data.sampling import Draw
from fewsam.evaluation.methods import baselines
from fewsam.fewshot.inference.fusion import fused, vote_weight
from fewsam.fewshot.inference.postprocess import class_indices
from fewsam.fewshot.inference.predictor import Predictor
from fewsam.fewshot.model.store import ModelStore
from fewsam.fewshot.model.supports import drawn_classes
from fewsam.fewshot.model.views import detail_size_for
from fewsam.fewshot.registration.atlas import Atlases
from fewsam.fewshot.registration.propagation import Propagation
from fewsam.fewshot.registration.registration import SIDE, Fields
from fewsam.fewshot.training.episodes import Episodes
from fewsam.fewshot.training.train import train
from fewsam.images.preprocess import choose_intensity, detail_bytes, detail_tensor, image_stats, make_frame
from fewsam.images.volume import Volume

CHUNK = 8
NO_EMBEDDING = ("unet", "unet+propagation", "nnunet", "propagation")


@dataclass(frozen=True)
class Job:
    """What a method is given.

    Attributes:
        collection: Holds the labelled slices, as if somebody had drawn them.
        folder: Its own, removed afterwards.
        options: What the method's name says in brackets beyond settings.
    """

    cases: Sequence[Case]
    picked: Draw
    settings: Settings
    collection: Collection
    embedder: Embedder
    folder: Path
    seed: int
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """``labelmap`` (Z, H, W) uint8, values in the order of the collection's classes, and where the method has one the
    ``uncertainty`` (Z, C) that it would show."""

    labelmap: np.ndarray
    uncertainty: np.ndarray | None = None


Predict = Callable[[int], Answer]  # of a case, by its index
Method = Callable[[Job], Predict]
Said = Callable[[Sequence[int]], tuple[Tensor | None, Tensor | None, float]]  # carried, voted, weight of the vote


def fewsam(job: Job) -> Predict:
    """Ours: decoder trained on the labelled slices."""
    train(job.settings, job.collection, job.embedder, ModelStore(job.folder), folder=job.folder / "run")
    return fewsam_cold(job)


def fewsam_cold(job: Job) -> Predict:
    """Ours before the first training: the prior answers."""
    predictor = Predictor(job.settings, job.embedder, job.collection, ModelStore(job.folder))

    def predict(index: int) -> Answer:
        # by its name, so that it counts which of its slices are labelled; those are not tested
        found = predictor.predict(job.cases[index].volume, f"case{index}")
        return Answer(found.labelmap, found.uncertainty)

    return predict


def propagation(job: Job) -> Predict:
    """Registration alone: labelled slices carried to the others of their volume, or voting on those of other images."""
    said, classes = _registered(job), drawn_classes(job.collection.shots(), job.collection.classes)
    values = np.array([0, *(job.collection.classes.index(name) + 1 for name in classes)], np.uint8)

    def predict(index: int) -> Answer:
        volume = job.cases[index].volume
        frame = make_frame(volume.geometry.slices_shape, volume.geometry.spacing, SIDE)
        carried, vote, _ = said(index)(range(volume.depth))
        maps = carried if carried is not None else vote
        if maps is None:
            return Answer(np.zeros(volume.slices.shape[:3], np.uint8))
        return Answer(values[class_indices(maps.exp().numpy(), frame, smooth=job.settings.smooth_z, gate=False)])

    return predict


def prototypes(job: Job) -> Predict:
    """Nearest prototype by cosine."""
    return _by_slices(job, lambda episodes: baselines.prototypes(episodes), embed=True)


def probe(job: Job) -> Predict:
    """Logistic regression on cached embeddings."""
    return _by_slices(job, lambda episodes: baselines.linear_probe(episodes, job.seed), embed=True)


def unet(job: Job) -> Predict:
    """A U-Net from scratch on the same slices."""
    return _by_slices(job, lambda episodes: baselines.unet(episodes, job.seed), embed=False)


def unet_propagation(job: Job) -> Predict:
    """The U-Net's answer with what registration says, as fewsam's is: tells what its decoder is worth beside that."""
    return _by_slices(job, lambda episodes: baselines.unet(episodes, job.seed), embed=False, said=_registered(job))


def _registered(job: Job) -> Callable[[int], Said]:
    """What the labelled slices say by registration alone of a case's slices, by the case's index."""
    shots, fields = job.collection.shots(), Fields()
    classes = drawn_classes(shots, job.collection.classes)
    atlases = Atlases(shots, classes, job.settings)

    def of_case(index: int) -> Said:
        volume = job.cases[index].volume
        drawn = {shot.slice: shot for shot in shots if shot.image_id == f"case{index}"}
        intensity = choose_intensity(image_stats(volume), job.settings)
        carrier = Propagation(volume, drawn, classes, intensity, fields)
        weight = vote_weight(0.0, volume.depth, atlases.voters(volume))
        return lambda slices: (carrier(slices), atlases.vote(volume, slices, intensity, fields), weight)

    return of_case


def _by_slices(
    job: Job, make: Callable[[Episodes], baselines.SliceModel], embed: bool, said: Callable[[int], Said] | None = None
) -> Predict:
    shots, settings = job.collection.shots(), job.settings
    classes = drawn_classes(shots, job.collection.classes)
    episodes = Episodes(settings, shots, classes, job.embedder, detail_size_for(shots, settings))
    model = make(episodes)
    values = np.array([0, *(job.collection.classes.index(name) + 1 for name in classes)], np.uint8)

    def predict(index: int) -> Answer:
        volume = job.cases[index].volume
        more = said(index) if said else None
        return Answer(values[_segment(model, volume, settings, job.embedder, episodes.detail_size, embed, more)])

    return predict


@torch.inference_mode()
def _segment(
    model: baselines.SliceModel,
    volume: Volume,
    settings: Settings,
    embedder: Embedder,
    side: int,
    embed: bool,
    said: Said | None,
) -> np.ndarray:
    geometry = volume.geometry
    slices = EncoderSlices(volume, settings, embedder)
    detail_frame = make_frame(geometry.slices_shape, geometry.spacing, side)
    parts = []
    for chunk in slices.chunks(CHUNK):
        raw = slices.raw(chunk)
        detail = detail_bytes(raw, slices.intensity, detail_frame)
        embeddings = torch.zeros(len(chunk), 256, 64, 64)
        if embed:
            embeddings = torch.from_numpy(embedder.embed(slices.inputs(raw))).float()
        place = torch.tensor([z / max(1, volume.depth - 1) for z in chunk])
        answer = model(embeddings, place, detail_tensor(detail))
        if said:
            answer = fused(answer.clamp_min(1e-6).log(), *said(chunk)).softmax(1)
        parts.append(answer.numpy())
    # The gate asks for calibrated probabilities, which prototypes do not give: it is for fewsam alone.
    return class_indices(np.concatenate(parts), slices.frame, smooth=settings.smooth_z, gate=False)


def _registry() -> dict[str, Method]:
    from fewsam.evaluation.methods import nnunet, sam_prompts

    ours: dict[str, Method] = {
        "fewsam": fewsam,
        "fewsam-cold": fewsam_cold,
        "propagation": propagation,
        "prototypes": prototypes,
        "probe": probe,
        "unet": unet,
        "unet+propagation": unet_propagation,
    }
    return {**ours, **sam_prompts.METHODS, "nnunet": nnunet.nnunet}


METHODS = (
    "fewsam", "fewsam-cold", "propagation", "prototypes", "probe", "unet", "unet+propagation",
    "sam-points-1", "sam-points-3", "sam-points-5", "sam-clicks-3", "sam-clicks-5", "sam-box",
    "nnunet",
)  # fmt: skip


def split_methods(text: str) -> list[str]:
    """Names at the commas outside of brackets: ``"unet,fewsam[detail=false,ensemble=1]"`` are two.

    Raises:
        ConfigError: a name that is no method.
    """
    names = [name.strip() for name in re.split(r",(?![^\[]*\])", text) if name.strip()]
    for name in names:
        find_method(name)
    return names


def find_method(name: str) -> tuple[Method, str, dict[str, str]]:
    """The function behind ``fewsam[detail=false]``, its plain name, and what stands in the brackets.

    Raises:
        ConfigError: there is no such method, or the brackets do not read ``key=value``.
    """
    base, bracket, inside = name.partition("[")
    found = _registry().get(base)
    if found is None or bool(bracket) != name.endswith("]"):
        raise ConfigError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    switches: dict[str, str] = {}
    for part in filter(None, inside.removesuffix("]").split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(f"method {name!r}: {part!r} must look like key=value")
        switches[key.strip()] = value.strip()
    return found, base, switches
