"""What is evaluated: a YAML list of tasks, each with images, truths and class names, from the layouts data comes in."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fewsam.core.config import PRESET_DIR
from fewsam.core.errors import ConfigError, FewSAMError
from fewsam.core.yamlfile import read_yaml
from fewsam.evaluation.data.datasets import Pair, Pairs, in_dataset, in_dicom, in_folder, matching

logger = logging.getLogger(__name__)

REPOSITORY = PRESET_DIR.parents[3]  # in a checkout
SHARED_DATA = "FEWSAM_SHARED_DATA"
SOURCES = ("images", "folder", "dataset", "dicom", "glob")


class Glob(BaseModel):
    """Images and truths by pattern; what the wildcards of both stand for must agree."""

    model_config = ConfigDict(extra="forbid")

    images: str
    labels: str


class Task(BaseModel):
    """One entry of a task list. Its data come from one of ``images`` with ``labels``, ``folder``, ``dataset``,
    ``dicom``, ``glob``, all relative to the root.

    Attributes:
        images: Volumes.
        labels: Truths, one for each image.
        folder: Holds ``images/`` and ``labels/``.
        dataset: A ``dataset.json`` of nnU-Net or of the Medical Segmentation Decathlon.
        dicom: Holds a folder for each image series, with a DICOM SEG in it or beside it that refers to the series.
        glob: Patterns of images and truths.
        names: Label value to class name; other values are background. May be left out where the data name them.
        classes: Of all names only these.
        modality: To be told in reports.
        patient: Regular expression whose group in an image's name is the patient, where a patient has several images;
            of DICOM the PatientID where this is left out.
        channel: Of images with several channels, in files of their own (nnU-Net) or in one (the Decathlon), the one
            taken.
        spacing: In mm along (slice, row, column), for files that do not store it (HDF5).
        cases: At most so many images, the first ones.
        protocol: ``slices``: K slices of the first image, its other slices tested; ``patients``: K slices spread over
            ``patients`` patients, all slices of the others tested.
        patients: How many are labelled; None: K of them, one slice each.
        tolerance: Of the surface Dice, mm.
        settings: Overrides for this task.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    images: list[str] = []
    labels: list[str] = []
    folder: str | None = None
    dataset: str | None = None
    dicom: str | None = None
    glob: Glob | None = None
    names: dict[int, str] = {}
    classes: list[str] = []
    modality: str = ""
    patient: str | None = None
    channel: int = Field(default=0, ge=0)
    spacing: tuple[float, float, float] | None = None
    cases: int | None = Field(default=None, ge=1)
    protocol: Literal["slices", "patients"] = "slices"
    patients: int | None = Field(default=3, ge=1)
    tolerance: float = Field(default=2.0, gt=0)
    settings: dict[str, Any] = {}

    @field_validator("protocol", mode="before")
    @classmethod
    def _earlier_name(cls, value: Any) -> Any:
        return "slices" if value == "volume" else value  # as lists of version 0.1 have it

    @model_validator(mode="after")
    def _one_source(self) -> Task:
        given = [name for name in SOURCES if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"give one of {', '.join(SOURCES)}, not {' and '.join(given) or 'none'}")
        if self.images and len(self.images) != len(self.labels):
            raise ValueError(f"{len(self.images)} images for {len(self.labels)} labels")
        return self

    def pairs(self, root: Path) -> Pairs:
        """Images and truths, and the names that the data themselves give to label values.

        Raises:
            FewSAMError: something is missing or does not fit.
        """
        if self.folder:
            found = in_folder(root / self.folder)
        elif self.dataset:
            found = in_dataset(root / self.dataset, self.channel)
        elif self.dicom:
            found = in_dicom(root / self.dicom)
        elif self.glob:
            found = Pairs(matching(root, self.glob.images, self.glob.labels), {})
        else:
            listed = zip(self.images, self.labels, strict=True)
            found = Pairs([Pair(root / image, root / label) for image, label in listed], {})
            for pair in found.pairs:
                for path in (pair.image, pair.label):
                    if not path.exists():
                        raise ConfigError(f"{path} is missing")
        return Pairs(found.pairs[: self.cases], found.names)

    def named(self, found: dict[int, str]) -> dict[int, str]:
        """Label value to name, of the task where it says so, else as ``found`` with the data.

        Raises:
            ConfigError: no names, or a class that is none.
        """
        names = self.names or found
        if unknown := [name for name in self.classes if name not in names.values()]:
            raise ConfigError(f"task {self.name}: class {unknown[0]!r} is none of {', '.join(names.values())}")
        if not names and not self.dicom:
            raise ConfigError(
                f"task {self.name}: label values have no names; give names: {{1: liver, ...}} in the list"
            )
        return {value: name for value, name in names.items() if not self.classes or name in self.classes}


def read_tasks(path: Path) -> list[Task]:
    """Tasks of a YAML list, whether their files are there or not.

    Raises:
        ConfigError: the list cannot be read, or an entry is malformed.
    """
    try:
        entries = read_yaml(path, "task list")["tasks"]
        tasks = [Task(**entry) for entry in entries]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"task list {path} cannot be read: {place[:80]} {first['msg'][:300]}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"task list {path} cannot be read: {str(error)[:300]}; it needs tasks: [...]") from None
    names = [task.name for task in tasks]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"task list {path} has {twice[0]!r} twice; names tell results apart")
    return tasks


def load_tasks(path: Path, root: Path) -> list[tuple[Task, Path]]:
    """Tasks of a YAML list whose files are present under ``root``, others are logged.

    Raises:
        ConfigError: the list cannot be read, or an entry is malformed.
    """
    present = []
    for task in read_tasks(path):
        try:
            task.pairs(root)
        except FewSAMError as error:
            logger.warning("task %s left out: %s", task.name, error)
        else:
            present.append((task, root))
    return present


def folder_task(path: Path, name: str | None = None, **fields: Any) -> tuple[Task, Path]:
    """A task made of a folder or file as it is, and its root: ``images/`` with ``labels/``, a ``dataset.json``, or
    DICOM with SEG.

    Raises:
        ConfigError: it is none of these.
    """
    path = path.resolve()
    title = name or (path.parent.name if path.name == "dataset.json" else path.name)
    if path.name == "dataset.json" or (path / "dataset.json").is_file():
        file = path if path.is_file() else path / "dataset.json"
        return Task(name=title, dataset=file.name, **fields), file.parent
    if (path / "images").is_dir() and (path / "labels").is_dir():
        return Task(name=title, folder=".", **fields), path
    if path.is_dir():
        return Task(name=title, dicom=".", **fields), path
    raise ConfigError(
        f"{path} is no data set: give a folder with images/ and labels/, a dataset.json, or DICOM with SEG"
    )


def task_root(tasks: Path, root: Path | None) -> Path:
    """Folder that the paths in a task list start from: ``root`` where given, else the list's own ``root`` (relative to
    the list), else the environment's FEWSAM_SHARED_DATA, else ``../shared/data`` beside the repository.

    Raises:
        ConfigError: there is none.
    """
    if root is None:
        listed = read_yaml(tasks, "task list")
        if isinstance(listed, dict) and listed.get("root"):
            root = tasks.parent / str(listed["root"])
        elif os.environ.get(SHARED_DATA):
            root = Path(os.environ[SHARED_DATA])
        else:
            root = REPOSITORY.parent / "shared" / "data"
    if not root.is_dir():
        raise ConfigError(
            f"the data of {tasks} should lie in {root}, which is no folder; pass --root, or for the sample data run "
            "`fewsam phantom sample-data`"
        )
    return root
