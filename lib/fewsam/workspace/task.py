"""The interface for notebooks and programs: a task is opened, given labelled slices, trained, and segments images.

``import fewsam`` offers it as ``fewsam.Task``; ``docs/guides/python.md`` has an example. Images are files or arrays
(`fewsam.workspace.arrays`); labels, labelmaps and masks have the axes of their image. Slices are cut along the axis of
the coarsest spacing (`Task.slice_axis`), and are numbered by the index on that axis.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from fewsam.core.class_values import masks_by_class, names_by_value
from fewsam.core.errors import ConfigError
from fewsam.fewshot.training.episodes import prepare_views
from fewsam.fewshot.training.run import TrainProgress
from fewsam.fewshot.training.train import TrainResult
from fewsam.images.volume import Geometry, Volume, save_labelmap
from fewsam.workspace.arrays import Image, array_slice, canonical_slice, is_flat, masks_of, name_of, open_image
from fewsam.workspace.segment import segment_volume
from fewsam.workspace.workspace import is_task, open_task

Progress = Callable[[int, int], None]  # slices done and in all


@dataclass(frozen=True)
class Segmentation:
    """A segmented image.

    Attributes:
        labelmap: uint8 of the image's shape ``(i, j, k)``, or ``(i, j)`` for a flat image: 0 is background, value
            ``n + 1`` is ``classes[n]``.
        classes: The C classes of the task.
        uncertainty: (Z, C) float32 in 0..1, one minus the Dice to be expected, for each slice and class. 0 on slices
            that somebody drew.
        slice_axis: The axis of ``labelmap`` along which the Z slices are counted.
        trained: Whether a trained decoder answered; before the first training the labelled slices answer directly.
        model_version: Number of the decoder, 0 where none is trained.
        notes: What a person should know of the answer.
        geometry: The image's grid, for `save`.
    """

    labelmap: np.ndarray
    classes: tuple[str, ...]
    uncertainty: np.ndarray
    slice_axis: int
    trained: bool
    model_version: int
    notes: tuple[str, ...]
    geometry: Geometry

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """One bool mask of the labelmap's shape for each class."""
        return masks_by_class(self.labelmap, self.classes)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the labelmap where its image lies: ``.nii``, ``.nii.gz``, ``.nrrd``, ``.seg.nrrd``, flat ones ``.png``.

        Raises:
            LabelError: the format cannot hold the labelmap.
            StorageError: the file cannot be written.
        """
        slices = self.geometry.to_slices(self.labelmap.reshape(self.geometry.shape))
        save_labelmap(path, slices, self.geometry, names_by_value(self.classes))


class Task:
    """A task folder: labelled slices, settings, cache and decoder. Opened where it is there, else made.

    Use it in a ``with`` statement, or call `close`. The command line and the server open the same folder.

    Args:
        folder: The task's folder; everything is kept in it.
        labels: Names of the classes, in the order of their labelmap values. Without any, the first labels name them.
        preset: A preset of ``configs/`` by name, or a YAML file. Only for a task that is made here.
        settings: Settings on top (`fewsam.core.config.Settings`), as ``steps=200`` or ``encoder="compact"``. A task
            that is made here keeps them; for one that is there already they count until it is closed.

    Raises:
        ConfigError: an unknown setting, a value that does not fit, or labels that are not those of the task.
        CheckpointError: the encoder's weights are missing.
        StorageError: the folder cannot be made.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        labels: Sequence[str] = (),
        *,
        preset: str | None = None,
        **settings: Any,
    ) -> None:
        path = Path(folder)
        if is_task(path):
            self.workspace = open_task(path, preset, settings)
            self._check_labels([labels] if isinstance(labels, str) else labels)
        else:
            chosen = {**settings, "labels": labels} if labels else settings
            self.workspace = open_task(path, preset, chosen, create=True)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; a class's value in labelmaps is its position plus 1."""
        return self.workspace.collection.classes

    def slice_axis(
        self, image: Image, *, affine: np.ndarray | None = None, spacing: Sequence[float] | None = None
    ) -> int:
        """The axis of the image's array along which its slices are cut; `add_labels` numbers slices along it."""
        return self._opened(image, affine, spacing, None).geometry.permutation[0]

    def add_labels(
        self,
        image: Image,
        label: np.ndarray | Mapping[str, np.ndarray],
        *,
        slices: Sequence[int] | None = None,
        complete: bool = False,
        names: Mapping[int, str] | None = None,
        affine: np.ndarray | None = None,
        spacing: Sequence[float] | None = None,
        image_id: str | None = None,
        annotator: str = "",
        modality: str | None = None,
    ) -> list[int]:
        """Keep labelled slices of an image; when this returns they are on the disk.

        Args:
            image: A file, or an array (see the module).
            label: One bool mask for each class name, or one labelmap of integers; of the image's shape without colour.
            slices: The labelled slices, drawn or right as they are; None: those on which something is drawn.
            complete: On these slices a class without a voxel is absent; else the setting ``absent_classes`` decides.
            names: The class of each value of a labelmap; None: the task's classes, counted from 1, up to the first
                one that was deleted.
            affine: (4, 4), array index to RAS mm. Only for arrays.
            spacing: Size of a voxel in mm along each axis, where there is no affine. Default 1.
            image_id: The image's name in the task. Default: the file's name, or one made of the array's content.
            annotator: Who drew the labels.
            modality: "CT", "MR", ...; only for arrays.

        Returns:
            The slices that were new or changed.

        Raises:
            ImageError: the image cannot be read, or the array is none.
            LabelError: nothing is drawn, or the label does not fit the image.
            UnknownClassError: a class is not of the task, which takes no new ones.
            StorageError: the labels could not be written; nothing was stored.
        """
        volume = self._opened(image, affine, spacing, modality)
        lasting = {value: name for value, name in self.workspace.collection.names.lasting().items() if name}
        masks = masks_of(label, names or lasting, volume.geometry)
        chosen = None if slices is None else {canonical_slice(number, volume.geometry) for number in slices}
        if chosen is not None:
            wanted = np.isin(np.arange(volume.depth), sorted(chosen))[:, None, None]
            masks = {class_name: mask & wanted for class_name, mask in masks.items()}
        drawn = {int(z) for mask in masks.values() for z in np.flatnonzero(mask.any(axis=(1, 2)))}
        receipt = self.workspace.collection.submit(
            volume,
            image_id or name_of(image, volume),
            masks,
            annotator=annotator,
            source="fewsam.Task",
            complete_slices=(drawn if chosen is None else chosen) if complete else None,
            by_hand=drawn if chosen is not None else None,  # of all other slices nothing is said
            also_known_as=name_of(image, volume),
        )
        changed = (*receipt.added, *receipt.superseded, *receipt.cleared)
        return sorted(array_slice(z, volume.geometry) for z in changed)

    def train(
        self,
        progress: Callable[[TrainProgress], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> TrainResult:
        """Train the decoder on all labelled slices of the task, for the setting ``train_seconds`` at most.

        Args:
            progress: Called about every second.
            should_stop: Asked after every step; True ends the run, which the next call goes on with.

        Returns:
            How the run ended: ``metric`` is the Dice on slices held back, None where there are too few.

        Raises:
            LabelError: there is no labelled slice yet.
            StorageError: the disk is full, or another process trains in this folder.
        """
        shots = self.workspace.collection.shots()
        prepare_views(self.workspace.settings, shots, self.workspace.embedder, priority=True)
        return self.workspace.train(progress, should_stop)

    def segment(
        self,
        image: Image,
        *,
        affine: np.ndarray | None = None,
        spacing: Sequence[float] | None = None,
        modality: str | None = None,
        progress: Progress | None = None,
    ) -> Segmentation:
        """Segment an image on its own grid; slices that somebody drew come back as drawn.

        Args:
            image: A file, or an array (see the module).
            affine: (4, 4), array index to RAS mm. Only for arrays.
            spacing: Size of a voxel in mm along each axis, where there is no affine. Default 1.
            modality: "CT", "MR", ...; only for arrays.
            progress: Called with slices done and in all.

        Raises:
            ImageError: the image cannot be read, or the array is none.
            CheckpointError: the encoder's weights cannot be had.
        """
        volume = self._opened(image, affine, spacing, modality)
        prediction = segment_volume(self.workspace, volume, name_of(image, volume), progress)
        geometry = volume.geometry
        native = np.ascontiguousarray(geometry.to_native(prediction.labelmap))
        return Segmentation(
            labelmap=native[:, :, 0] if is_flat(image) else native,
            classes=prediction.classes,
            uncertainty=prediction.uncertainty[:: -1 if geometry.flips[0] else 1].copy(),
            slice_axis=geometry.permutation[0],
            trained=prediction.trained,
            model_version=prediction.model_version,
            notes=tuple(prediction.notes),
            geometry=geometry,
        )

    def close(self) -> None:
        """Close what is open of the task."""
        self.workspace.close()

    def __enter__(self) -> Task:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_labels(self, labels: Sequence[str]) -> None:
        have = self.workspace.settings.labels
        if labels and tuple(name.casefold() for name in labels) != tuple(name.casefold() for name in have):
            raise ConfigError(
                f"the task in {self.workspace.folder} has the labels {', '.join(have) or '(none)'}, not "
                f"{', '.join(labels)}; leave labels out, or choose another folder"
            )

    def _opened(
        self, image: Image, affine: np.ndarray | None, spacing: Sequence[float] | None, modality: str | None
    ) -> Volume:
        settings = self.workspace.settings
        return open_image(image, affine, spacing, modality, settings.axis, settings.sequences)
