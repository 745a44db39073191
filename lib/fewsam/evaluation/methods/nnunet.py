"""nnU-Net v2 on the same slices, through its own command line, where it is installed (``pip install nnunetv2``).

What is not labelled carries nnU-Net's ignore label, so that it learns from the K slices alone. Its whole plan is kept;
``nnunet[trainer=nnUNetTrainer_50epochs,configuration=2d]`` says how long and which.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fewsam.core.class_values import names_by_value, values_by_name
from fewsam.core.device import resolve_device
from fewsam.core.errors import ConfigError, FewSAMError
from fewsam.evaluation.data.cases import Case
from fewsam.evaluation.methods.interface import MethodInput, MethodOutput, Predict
from fewsam.images.labelfile import read_label
from fewsam.images.volume import save_labelmap
from fewsam.workspace.nnunet_dataset import ENDING, label_values, labelmap_with_ignore, modality, write_image

logger = logging.getLogger(__name__)

DATASET = "Dataset001_fewsam"
OPTIONS = {"trainer": "nnUNetTrainer", "configuration": "2d"}


def nnunet(given: MethodInput) -> Predict:
    """Plan, train and predict with nnU-Net's commands.

    Raises:
        ConfigError: nnU-Net is not installed.
        FewSAMError: one of its commands failed; the message ends with what it printed last.
    """
    if shutil.which("nnUNetv2_train") is None:
        raise ConfigError("nnU-Net is not installed: pip install nnunetv2, or leave out the method nnunet")
    options = {**OPTIONS, **given.options}
    folders = {name: given.folder / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    for folder in folders.values():
        folder.mkdir()
    device = resolve_device(given.settings.device).type  # nnU-Net knows cuda, mps and cpu
    environment = {**os.environ, **{name: str(folder) for name, folder in folders.items()}, "nnUNet_compile": "f"}
    classes = write_dataset(given, folders["nnUNet_raw"] / DATASET)
    config = ["-c", options["configuration"]]
    model = ["-tr", options["trainer"], "-device", device]
    _run(["nnUNetv2_plan_and_preprocess", "-d", "1", *config, "-np", "1"], environment)
    _run(["nnUNetv2_train", "1", options["configuration"], "all", *model], environment)

    def predict(index: int) -> MethodOutput:
        case, images, made = given.cases[index], given.folder / f"in{index}", given.folder / f"out{index}"
        write_image(images, "case", case.volume)
        wanted = ["-i", str(images), "-o", str(made), "-d", "1", "-f", "all", "-npp", "1", "-nps", "1"]
        _run(["nnUNetv2_predict", *wanted, *config, *model], environment)
        return MethodOutput(_labelmap(made / f"case{ENDING}", case, classes, given.collection.classes))

    return predict


def write_dataset(given: MethodInput, folder: Path) -> list[str]:
    """``imagesTr``, ``labelsTr`` and ``dataset.json`` of the labelled slices.

    Returns:
        Classes in the order of their values, from 1.
    """
    drawn = {name for shot in given.collection.shots() for name in shot.masks}
    classes = [name for name in given.collection.classes if name in drawn]
    labelled = [index for index, slices in given.draw.labelled.items() if slices]
    for index in labelled:
        volume, name = given.cases[index].volume, f"case{index:03d}"
        shots = given.collection.shots(f"case{index}", content_hash=volume.content_hash)
        write_image(folder / "imagesTr", name, volume)
        labelmap = labelmap_with_ignore(shots, classes, volume.geometry.slices_shape)
        path = folder / "labelsTr" / f"{name}{ENDING}"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_labelmap(path, labelmap, volume.geometry, names_by_value(classes))
    first = given.cases[labelled[0]].volume
    channels = {"0": "red", "1": "green", "2": "blue"} if first.is_rgb else {"0": modality(first)}
    description = {
        "channel_names": channels, "labels": label_values(classes), "numTraining": len(labelled), "file_ending": ENDING,
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(description, indent=2), encoding="utf-8")
    return classes


def _labelmap(path: Path, case: Case, classes: Sequence[str], order: Sequence[str]) -> np.ndarray:
    labelmap = np.zeros(case.volume.slices.shape[:3], np.uint8)
    try:
        found = read_label(path, case.volume.geometry, names=names_by_value(classes))
    except FewSAMError as error:
        if "empty" not in str(error):
            raise
        found = {}
    for name, mask in found.items():
        labelmap[mask] = values_by_name(order)[name]
    return labelmap


def _run(command: Sequence[str], environment: dict[str, str]) -> None:
    logger.info("%s", " ".join(command))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = [line for line in re.split(r"[\r\n]+", done.stdout + done.stderr) if line.strip()][-3:]
        raise FewSAMError(f"{command[0]} failed ({done.returncode}): {' | '.join(last)}")
