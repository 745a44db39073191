"""Which image series a DICOM SEG of another tool was drawn on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from pydicom.dataset import Dataset

from fewsam.core.errors import LabelError
from fewsam.server.storage.pacs import Pacs

LOOKED_UP = 8  # instances asked for at most: all but a few objects name images of one series


def images_of(header: Dataset, pacs: Pacs, images: Collection[str]) -> list[str]:
    """Series of ``images`` that a SEG may have been drawn on, the likeliest first.

    It may name its series, or only instances of it, or nothing but the frame of reference; what it names first may be
    a series that is not here.

    Raises:
        LabelError: none of them, or nothing tells several apart.
        PacsError: the PACS does not answer.
    """
    named = [str(item.get("SeriesInstanceUID") or "") for item in header.get("ReferencedSeriesSequence") or ()]
    found = [uid for uid in named if uid in images]
    instances = list(islice(dict.fromkeys(_referenced(header)), LOOKED_UP))
    found += [uid for instance in instances if (uid := pacs.series_of(instance)) in images]
    if found:
        return list(dict.fromkeys(found))
    alike = _in_its_space(header, pacs, images)
    if len(alike) > 1:
        raise LabelError(
            f"it names no image, and {len(alike)} series of its study share its frame of reference; export it again "
            "with references to its images"
        )
    if alike:
        return alike
    if named or instances:
        raise LabelError(
            "the images that it names are not in the PACS, or are left out by the server's filter of series; store "
            "them there too"
        )
    raise LabelError("it names no image; export it again with references to its images")


def _referenced(data: Dataset) -> Iterator[str]:
    """SOP Instance UIDs of images that a SEG names, wherever it does."""
    for series in data.get("ReferencedSeriesSequence") or ():
        yield from _instances(series.get("ReferencedInstanceSequence"))
    yield from _instances(data.get("SourceImageSequence"))
    shared = data.get("SharedFunctionalGroupsSequence") or ()
    for group in (*shared, *(data.get("PerFrameFunctionalGroupsSequence") or ())):
        for derivation in group.get("DerivationImageSequence") or ():
            yield from _instances(derivation.get("SourceImageSequence"))


def _instances(items: Sequence[Dataset] | None) -> Iterator[str]:
    for item in items or ():
        if item.get("ReferencedSOPInstanceUID"):
            yield str(item.ReferencedSOPInstanceUID)


def _in_its_space(header: Dataset, pacs: Pacs, images: Collection[str]) -> list[str]:
    """Series of the SEG's study with its frame of reference, those with its number of rows and columns if any."""
    frame = str(header.get("FrameOfReferenceUID") or "")
    study = str(header.get("StudyInstanceUID") or "")
    if not frame:
        return []
    known = pacs.known_series()
    alike: dict[str, bool] = {}
    for uid in images:
        if known.get(uid, {}).get("StudyInstanceUID") == study:
            first = pacs.first_header(study, uid)
            if first is not None and str(first.get("FrameOfReferenceUID") or "") == frame:
                alike[uid] = (first.get("Rows"), first.get("Columns")) == (header.get("Rows"), header.get("Columns"))
    return [uid for uid, same in alike.items() if same] or list(alike)
