"""The same lab behind the real server: slices are asked for, labels put and answers fetched by REST.

The server's own rule trains. Images of the pool are its studies; tested volumes are sent along with the request.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import requests

from fewsam.core.class_values import names_by_value, values_by_name
from fewsam.core.config import Settings
from fewsam.core.errors import ConfigError, FewSAMError, LabelError
from fewsam.core.processes import MODEL, PATIENCE, ServerProcess
from fewsam.evaluation.loop.lab import UNLABELLED, Masks
from fewsam.evaluation.loop.plan import Plan
from fewsam.images.labelfile import read_label
from fewsam.images.volume import save_labelmap
from fewsam.workspace.nnunet_dataset import write_image

STRATEGIES = ("informative", "foreground_random", "interval", "first")  # its "random" is "informative"


class RestLab:
    """A server of its own on 127.0.0.1, ended by `close`.

    Args:
        settings: What differs from the defaults becomes ``--conf``; ``auto_train`` must be ``every:N``.
        folder: For the app's copy, studies and ``server.log``.

    Raises:
        ProcessError: it does not start; the message ends with its log.
    """

    def __init__(self, plan: Plan, settings: Settings, folder: Path, seed: int) -> None:
        kind, _, amount = settings.auto_train.partition(":")
        if kind != "every":
            raise ConfigError("through the server auto_train must be every:N")
        if plan.cases[0].volume.is_rgb:
            raise ConfigError("colour images are simulated without a server alone")
        self.plan, self.folder, self.seed, self.every = plan, folder, seed, int(amount)
        self.classes = tuple(plan.cases[0].truth)
        self.waiting, self.turn, self.version = 0, 0, 0
        self._answers: dict[int, dict[str, np.ndarray]] = {}
        self._submitted: set[tuple[int, int]] = set()
        for index in {*plan.offered, *plan.tested}:
            write_image(self._images(index), f"case{index}", plan.cases[index].volume)
        self._start(settings)

    def _images(self, index: int) -> Path:
        return self.folder / ("studies" if index in self.plan.offered else "tested")

    def _start(self, settings: Settings) -> None:
        changed = settings.model_dump(exclude_defaults=True) | {"labels": self.classes, "seed": self.seed}
        self.server = ServerProcess(self.folder, self.folder / "studies", changed)
        try:
            self.server.start()
            # as a lab finds it by morning
            self.server.wait(lambda: self.server.info()["encoding"]["state"] == "done", "the end of encoding")
        except BaseException:
            self.close()
            raise

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        answer = requests.request(method, f"{self.server.url}/{path}", timeout=PATIENCE, **options)
        if answer.status_code != 200:
            raise FewSAMError(f"{method} {path} was refused with {answer.status_code}: {answer.text[:300]}")
        return answer

    def next_slice(self, strategy: str) -> tuple[int, int] | None:
        if strategy not in STRATEGIES:
            raise ConfigError(f"the server has no strategy {strategy!r} to compare; it has {', '.join(STRATEGIES)}")
        for _ in range(sum(case.volume.depth for case in self.plan.cases) + 1):
            self.turn += 1
            body = {"client_id": "annotator", "seed": self.seed * 100_000 + self.turn}
            offered = self._ask("POST", f"activelearning/{strategy}", json=body).json()
            if not offered:
                return None
            place = self._index(offered["id"]), int(offered["slice"])
            # Passed over: tested slices of the volume, and what is offered again (a slice that was found empty, say).
            if place not in self._submitted and place[1] in self.plan.offered[place[0]]:
                return place
        return None

    @staticmethod
    def _index(image_id: str) -> int:
        return int(image_id.removeprefix("case").removesuffix("_0000"))

    def served(self, index: int, z: int) -> Masks | None:
        answer = self._answers.get(index)
        return None if answer is None else {name: mask[z] for name, mask in answer.items()}

    def submit(self, index: int, z: int, masks: Masks) -> None:
        volume = self.plan.cases[index].volume
        labelmap, values = np.zeros(volume.slices.shape[:3], np.uint8), values_by_name(self.classes)
        for name, mask in masks.items():
            labelmap[z][mask] = values[name]
        file = self.folder / "label.nii.gz"
        save_labelmap(file, labelmap, volume.geometry, names_by_value(self.classes))
        self._submitted.add((index, z))
        if not masks:
            return  # the server takes no empty label; there is nothing to learn but that nothing is there
        info = [{"name": name, "idx": value} for name, value in values.items()]
        params = {"label_info": info, "absent_classes": "complete", "complete_slices": [z]}
        with file.open("rb") as label:
            self._ask(
                "PUT", "datastore/label", params={"image": f"case{index}_0000"}, data={"params": json.dumps(params)},
                files={"label": (file.name, label)},
            )  # fmt: skip
        self.waiting += 1

    def train_if_due(self, last: bool) -> bool:
        if not self.waiting or (self.waiting < self.every and not last):
            return False
        if self.waiting < self.every:
            self._ask("POST", f"train/{MODEL}", json={})
        self.server.wait(self._trained, "the end of training")
        self.waiting = 0
        self._answers = {index: self._infer(index) for index in self.plan.offered}
        return True

    def _trained(self) -> bool:
        training = self.server.info()["training"]
        return not training["running"] and training["labels_since_training"] == 0

    def improve(self) -> bool:
        raise ConfigError(f"with {UNLABELLED} behind it, a strategy runs without a server alone (--through direct)")

    def segment(self, index: int) -> dict[str, np.ndarray]:
        return self._answers.get(index) or self._infer(index)

    def _infer(self, index: int) -> dict[str, np.ndarray]:
        image = self._images(index) / f"case{index}_0000.nii.gz"
        if index in self.plan.offered:
            answer = self._ask("POST", f"infer/{MODEL}", params={"image": f"case{index}_0000", "output": "image"})
        else:
            with image.open("rb") as sent:
                files = {"file": (image.name, sent)}
                answer = self._ask("POST", f"infer/{MODEL}", params={"output": "image"}, files=files)
        file = self.folder / "answer.nii.gz"
        file.write_bytes(answer.content)
        geometry = self.plan.cases[index].volume.geometry
        try:
            return read_label(file, geometry, names=names_by_value(self.classes))
        except LabelError as error:
            if "empty" not in str(error):
                raise
            return {}

    def close(self) -> None:
        self.server.stop()
