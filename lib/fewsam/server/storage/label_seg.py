"""A label file as the DICOM SEG that a PACS gets of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fewsam.core.class_values import names_by_value
from fewsam.images.dicomseg import write_seg
from fewsam.images.labelfile import read_label
from fewsam.images.volume import load_volume
from fewsam.server.storage.palette import colour_of


def write_label_seg(path: Path, label: Path, images: Path, said: Mapping[str, Any]) -> None:
    """Write ``label`` as DICOM SEG on the series in the folder ``images``.

    Args:
        said: ``classes`` of the task with their ``colours``, and what the client said of the label: ``label_info``,
            ``annotator`` or ``client_id``.

    Raises:
        EmptyLabelError: nothing is drawn, which has no form as DICOM SEG.
        LabelError: no DICOM SEG can be written for this series.
    """
    geometry = load_volume(images, axis="2").geometry
    classes = list(said.get("classes") or ())
    masks = read_label(label, geometry, names_by_value(classes), said.get("label_info"))
    shown = {name.casefold(): name for name in classes}
    masks = {shown.get(name.casefold(), name): mask for name, mask in masks.items()}
    places = {name: classes.index(name) if name in classes else len(classes) for name in masks}
    known = said.get("colours") or {}  # labels that wait since an earlier version have none
    colours = {name: tuple(known.get(name) or colour_of(name, place)) for name, place in places.items()}
    annotator = str(said.get("annotator") or said.get("client_id") or "")
    write_seg(path, masks, geometry, images, colours=colours, annotator=annotator)
