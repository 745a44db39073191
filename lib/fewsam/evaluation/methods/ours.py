"""Methods that segment with fewsam's own parts: the whole of it, registration alone, and the baselines by slice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from fewsam.core.class_values import lookup_values
from fewsam.core.config import Settings
from fewsam.core.errors import LabelError
from fewsam.encoders.embedder import Embedder
from fewsam.encoders.slices import EncoderSlices
from fewsam.evaluation.methods import baselines
from fewsam.evaluation.methods.interface import MethodInput, MethodOutput, Predict
from fewsam.fewshot.inference.fusion import atlas_weight, log_opinion_pool
from fewsam.fewshot.inference.postprocess import class_indices
from fewsam.fewshot.inference.predictor import Predictor
from fewsam.fewshot.model.store import ModelStore
from fewsam.fewshot.model.supports import drawn_classes
from fewsam.fewshot.model.views import detail_size_for
from fewsam.fewshot.registration.atlas import Atlases
from fewsam.fewshot.registration.propagation import Propagation
from fewsam.fewshot.registration.registration import SIDE, Fields
from fewsam.fewshot.selftraining.improve import check_improvable, improve
from fewsam.fewshot.training.episodes import Episodes
from fewsam.fewshot.training.train import train
from fewsam.images.frame import Frame, make_frame
from fewsam.images.preprocess import choose_intensity, detail_bytes, detail_tensor, image_stats
from fewsam.images.volume import Volume

logger = logging.getLogger(__name__)

CHUNK = 8

# Log probabilities of some slices by propagation and by the atlas, None where there is none, and the atlas's weight.
RegistrationLogProbs = Callable[[Sequence[int], Frame], tuple[Tensor | None, Tensor | None, float]]


def fewsam(given: MethodInput) -> Predict:
    """Ours: decoder trained on the labelled slices."""
    train(given.settings, given.collection, given.embedder, ModelStore(given.folder), folder=given.folder / "run")
    return fewsam_cold(given)


def fewsam_unlabelled(given: MethodInput, share: int = 1) -> Predict:
    """Ours, trained further on the tested images, whose labels it does not see: they are the unlabelled ones.

    What comes of it is measured whether it helps or not: in the product, a decoder stays as it is where slices held
    back say that such images do not help. Where the training left the untrained answer there is none to improve.

    Args:
        share: Every ``share``-th of the tested images is learnt from; the others stay unseen.
    """
    cases = {f"case{index}": given.cases[index].volume for index in sorted(given.draw.tested)[::share]}
    store = ModelStore(given.folder)
    train(given.settings, given.collection, given.embedder, store, folder=given.folder / "run")
    try:
        check_improvable(store)
    except LabelError as error:
        logger.info("not learnt from unlabelled images: %s", error)
    else:
        improve(
            given.settings, given.collection, given.embedder, store, list(cases), cases.__getitem__,
            folder=given.folder / "run", hold_back=False,
        )  # fmt: skip
    return fewsam_cold(given)


def fewsam_cold(given: MethodInput) -> Predict:
    """Ours before the first training: the prior answers."""
    predictor = Predictor(given.settings, given.embedder, given.collection, ModelStore(given.folder))

    def predict(index: int) -> MethodOutput:
        # The name tells the predictor which slices of the case are labelled; those are not tested.
        found = predictor.predict(given.cases[index].volume, f"case{index}")
        return MethodOutput(found.labelmap, found.uncertainty)

    return predict


def propagation(given: MethodInput) -> Predict:
    """Registration alone: labelled slices are propagated within their volume, or serve other images as an atlas."""
    registered, classes = _registered(given), drawn_classes(given.collection.shots(), given.collection.classes)
    values = lookup_values(classes, given.collection.classes)

    def predict(index: int) -> MethodOutput:
        volume = given.cases[index].volume
        frame = make_frame(volume.geometry.slices_shape, volume.geometry.spacing, SIDE)
        propagated, atlas, _ = registered(index)(range(volume.depth), frame)
        maps = propagated if propagated is not None else atlas
        if maps is None:
            return MethodOutput(np.zeros(volume.slices.shape[:3], np.uint8))
        depths = volume.geometry.depths if given.settings.smooth_z else None
        return MethodOutput(values[class_indices(maps.exp().numpy(), frame, depths=depths, gate=False)])

    return predict


def prototypes(given: MethodInput) -> Predict:
    """Nearest prototype by cosine."""
    return _by_slices(given, baselines.prototypes, embed=True)


def probe(given: MethodInput) -> Predict:
    """Logistic regression on cached embeddings."""
    return _by_slices(given, partial(baselines.linear_probe, seed=given.seed), embed=True)


def unet(given: MethodInput) -> Predict:
    """A U-Net from scratch on the same slices."""
    return _by_slices(given, partial(baselines.unet, seed=given.seed), embed=False)


def unet_propagation(given: MethodInput) -> Predict:
    """The U-Net's answer pooled with registration's, as fewsam's is: it tells what fewsam's decoder adds to that."""
    return _by_slices(given, partial(baselines.unet, seed=given.seed), embed=False, registered=_registered(given))


def _registered(given: MethodInput) -> Callable[[int], RegistrationLogProbs]:
    """Log probabilities of a case's slices by registration of the labelled ones; the case is named by its index."""
    shots, fields = given.collection.shots(), Fields()
    classes = drawn_classes(shots, given.collection.classes)
    atlases = Atlases(shots, classes, given.settings)

    def of_case(index: int) -> RegistrationLogProbs:
        volume = given.cases[index].volume
        drawn = {shot.slice: shot for shot in shots if shot.image_id == f"case{index}"}
        intensity = choose_intensity(image_stats(volume), given.settings)
        propagate = Propagation(volume, drawn, classes, intensity, fields)
        weight = atlas_weight(0.0, volume.depth, atlases.num_atlases(volume))
        return lambda slices, frame: (
            propagate(slices, frame),
            atlases.log_probs(volume, slices, intensity, fields, frame),
            weight,
        )

    return of_case


def _by_slices(
    given: MethodInput,
    make: Callable[[Episodes], baselines.SliceModel],
    embed: bool,
    registered: Callable[[int], RegistrationLogProbs] | None = None,
) -> Predict:
    """Predictions of a model that answers slice by slice, pooled with those of registration where they are given."""
    shots, settings = given.collection.shots(), given.settings
    classes = drawn_classes(shots, given.collection.classes)
    episodes = Episodes(settings, shots, classes, given.embedder, detail_size_for(shots, settings))
    model, side = make(episodes), episodes.detail_size
    values = lookup_values(classes, given.collection.classes)

    def predict(index: int) -> MethodOutput:
        volume = given.cases[index].volume
        pooled = registered(index) if registered else None
        return MethodOutput(values[_segment(model, volume, settings, given.embedder, side, embed, pooled)])

    return predict


@torch.inference_mode()
def _segment(
    model: baselines.SliceModel,
    volume: Volume,
    settings: Settings,
    embedder: Embedder,
    side: int,
    embed: bool,
    registered: RegistrationLogProbs | None,
) -> np.ndarray:
    geometry = volume.geometry
    slices = EncoderSlices(volume, settings, embedder)
    detail_frame = make_frame(geometry.slices_shape, geometry.spacing, side)
    parts = []
    for chunk in slices.chunks(CHUNK):
        raw = slices.raw(chunk)
        detail = detail_bytes(raw, slices.intensity, detail_frame)
        device = embedder.device
        embeddings = (
            embedder.tensor(slices.inputs(raw)) if embed else torch.zeros(len(chunk), 256, 64, 64, device=device)
        )
        relative_z = torch.tensor([z / max(1, volume.depth - 1) for z in chunk], device=device)
        answer = model(embeddings, relative_z, detail_tensor(detail).to(device)).cpu()
        if registered:
            propagated, atlas, weight = registered(chunk, detail_frame)
            answer = log_opinion_pool(answer.clamp_min(1e-6).log(), propagated, atlas, weight).softmax(1)
        parts.append(answer.numpy())
    # The gate asks for calibrated probabilities, which prototypes do not give: it is for fewsam alone.
    depths = geometry.depths if settings.smooth_z else None
    return class_indices(np.concatenate(parts), detail_frame, depths=depths, gate=False)
