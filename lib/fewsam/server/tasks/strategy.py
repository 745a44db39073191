"""Which slice of which image to label next, as MONAI Label strategies."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from fewsam.collection.loop import NO_SCORE
from fewsam.core.errors import FewSAMError
from fewsam.fewshot.inference.acquisition import Candidate, rank
from fewsam.fewshot.inference.uncertainty import by_slice
from fewsam.server.errors import RequestError
from fewsam.server.storage.pacs_datastore import PacsDatastore
from fewsam.server.tasks.index import ImageIndex, IndexEntry, signature
from fewsam.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

RESERVED_SECONDS = 900.0  # how long nobody else is sent to the same slice
OPENING_SECONDS = 2.0  # for images whose number of slices is not known yet
WORTH_ASKING = 0.02  # expected error of a slice, below which an annotator's time is better spent elsewhere

_DESCRIPTIONS = {
    "informative": "the slice whose label would teach most",
    "foreground_random": "a random slice among those with structures",
    "interval": "slices at even distances",
    "first": "the first slice not labelled yet",
}
# OHIF always asks for "random", whatever its drop-down shows: it gets the best there is.
DEFAULT = "informative"


def is_worth_asking(candidate: Candidate) -> bool:
    """Whether a person should look at a slice of the image that is open: it was not segmented yet, or is in doubt."""
    if candidate.uncertainty is None or candidate.foreground is None:
        return True
    return float(by_slice(candidate.uncertainty[None], candidate.foreground[None])[0]) >= WORTH_ASKING


def _several(request: Mapping[str, Any], key: str) -> set[str | int]:
    """What is named under ``key``.

    Raises:
        RequestError: it is no list of names or numbers.
    """
    found = request.get(key) or []
    if not isinstance(found, (list, tuple)) or any(not isinstance(one, (str, int)) for one in found):
        raise RequestError(f"{key} is a list of names or numbers, got {found!r}")
    return set(found)


class NextSlice(Strategy):
    """Offers a slice that is not labelled and that nobody else was sent to.

    An image with some labelled slices is offered until all its slices are labelled. Where the modality of images is
    known, those of a modality with labels come first: what was drawn on CT is not asked for on MR before CT is done.
    """

    def __init__(self, name: str, workspace: Workspace, index: ImageIndex, image_path: Callable[[str], str]) -> None:
        super().__init__(_DESCRIPTIONS[name])
        self.name = name
        self.workspace = workspace
        self.index = index
        self.image_path = image_path

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """``{"id", "slice", "score", ...}``, or an empty dict where every slice is labelled or taken.

        With ``image``, the one that is open, only its slices are offered, but for those in ``skip`` and those that
        would teach next to nothing; with ``leave`` too, only those of other images. Images in ``exclude`` never are.
        """
        collection = self.workspace.collection
        client = str(request.get("client_id") or "")
        excluded, skip = _several(request, "exclude"), _several(request, "skip")
        opened = request.get("image")
        if opened is not None and not isinstance(opened, str):
            raise RequestError(f"an image is named by its id, got {opened!r}")
        if opened and not request.get("leave"):
            images = [opened]
        else:
            images = [one for one in datastore.list_images() if one not in excluded and one != opened]
        candidates, labelled = self._candidates(datastore, images)
        if opened and not request.get("leave"):
            candidates = [one for one in candidates if one.slice not in skip and is_worth_asking(one)]
        seed = request.get("seed")
        ranked = rank(
            candidates, labelled, self.name, np.random.default_rng(seed if type(seed) is int and seed >= 0 else None)
        )
        mine = {(r["image_id"], r["slice"]) for r in collection.reservations() if r["client"] == client}
        # Who asks again without having labelled wants another one.
        ranked.sort(key=lambda candidate: (candidate.image_id, candidate.slice) in mine)
        for candidate in ranked:
            entry = self.index.get(candidate.image_id)
            version = entry.content_hash if entry is not None else ""
            if collection.reserve(candidate.image_id, candidate.slice, client, RESERVED_SECONDS, version):
                return {
                    "id": candidate.image_id,
                    "slice": int(candidate.slice),
                    "slices": int(candidate.depth),
                    "score": round(float(candidate.score), 4),
                    "labelled_slices": len(labelled.get(candidate.image_id, ())),
                }
        return {}

    def _candidates(self, datastore: Datastore, images: Sequence[str]) -> tuple[list[Candidate], dict[str, set[int]]]:
        collection = self.workspace.collection
        drawn, recorded = collection.labelled_by_image(), collection.all_scores()
        entries = self._entries(datastore, sorted(images), drawn)
        labelled = {image_id: self._labelled(image_id, entry, drawn) for image_id, entry in entries.items()}
        candidates = []
        for image_id, entry in entries.items():
            scores = recorded.get(image_id, [])
            scores = scores if len(scores) == entry.depth else [NO_SCORE] * entry.depth
            for z in range(entry.depth):
                if z not in labelled[image_id]:
                    candidates.append(
                        Candidate(
                            image_id,
                            z,
                            entry.depth,
                            entry.descriptors[z] if entry.descriptors is not None else None,
                            _of_slice(scores[z]["uncertainty"]),
                            _of_slice(scores[z]["foreground"]),
                        )
                    )
        return candidates, labelled

    def _entries(
        self, datastore: Datastore, images: Sequence[str], drawn: Mapping[str, Collection[int]]
    ) -> dict[str, IndexEntry]:
        """What is known of each image of the modalities with labels, or of all where those are labelled throughout."""
        modality = {image_id: str(datastore.get_image_info(image_id).get("Modality") or "") for image_id in images}
        begun = {modality[image_id] for image_id in images if drawn.get(image_id)}
        grown = {one for one in images if isinstance(datastore, PacsDatastore) and datastore.has_changed(one)}
        first = [image_id for image_id in images if not begun or modality[image_id] in begun]
        entries = self._opened(first, grown)
        if all(len(self._labelled(image_id, entry, drawn)) >= entry.depth for image_id, entry in entries.items()):
            entries |= self._opened([image_id for image_id in images if image_id not in entries], grown)
        return entries

    def _labelled(self, image_id: str, entry: IndexEntry, drawn: Mapping[str, Collection[int]]) -> set[int]:
        """The labelled slices of an image as it is now: of a series that has grown, those of before are others."""
        slices = drawn.get(image_id, ())
        if slices and entry.content_hash:
            slices = self.workspace.collection.labelled_slices(image_id, entry.content_hash)
        return set(slices)

    def _opened(self, images: Sequence[str], grown: Collection[str]) -> dict[str, IndexEntry]:
        """Those known already, if they have not ``grown``; a few of the others are opened, one at least if need be."""
        entries: dict[str, IndexEntry] = {}
        unknown = []
        for image_id in images:
            entry = self.index.get(image_id)
            if entry is None or image_id in grown:
                unknown.append(image_id)
            else:
                entries[image_id] = entry
        until = time.monotonic() + OPENING_SECONDS
        for image_id in unknown:
            if entries and time.monotonic() > until:
                break
            try:
                path = self.image_path(image_id)
                volume = self.workspace.volume(path)
                made_from = signature(path, self.workspace.settings)
                entries[image_id] = IndexEntry(made_from, volume.depth, None, volume.content_hash)
                self.index.put(image_id, entries[image_id])
            except (FewSAMError, OSError) as error:
                logger.warning("image %s cannot be offered: %s", image_id, error)
        return entries


def _of_slice(values: Sequence[float]) -> np.ndarray | None:
    """Values by class; None of a slice that was not segmented yet."""
    return np.asarray(values, np.float32) if values else None


def strategies(workspace: Workspace, index: ImageIndex, image_path: Callable[[str], str]) -> dict[str, Strategy]:
    """All strategies by name; ours stands under ``random`` as well."""
    named: dict[str, Strategy] = {name: NextSlice(name, workspace, index, image_path) for name in _DESCRIPTIONS}
    return {"random": NextSlice(DEFAULT, workspace, index, image_path), **named}
