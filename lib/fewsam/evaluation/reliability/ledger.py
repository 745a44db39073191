"""What the server has acknowledged, and whether it is all there: in the collection, the datastore and the answers."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import requests

from fewsam.collection import Collection
from fewsam.core.processes import MODEL, ServerProcess
from fewsam.evaluation.reliability.studies import CLASSES, Drawing


@dataclass
class Entry:
    """One submission; ``submission`` is its number where it was acknowledged."""

    image: str
    drawing: Drawing
    body: bytes
    annotator: str
    submission: int | None = None


@dataclass
class Ledger:
    """Submissions in the order of their acknowledgement, and those of which nobody knows.

    Attributes:
        unsure: Sent, and the answer never came: each may be there, wholly, or not.
        files: Image -> label files that the datastore may hold.
    """

    entries: list[Entry] = field(default_factory=list)
    unsure: list[Entry] = field(default_factory=list)
    files: dict[str, list[bytes]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _proved: set[int] = field(default_factory=set)

    def submit(
        self, site: ServerProcess, image: str, drawing: Drawing, folder: Path, annotator: str = ""
    ) -> requests.Response:
        """Send a label as a client does.

        Raises:
            requests.RequestException: no answer came; the label is unsure from now on.
        """
        path = drawing.save(folder / f"{image}-{threading.get_ident()}.nii.gz")
        entry = Entry(image, drawing, path.read_bytes(), annotator)
        params = {"label_info": drawing.label_info, "absent_classes": "complete", "annotator": annotator}
        try:
            answer = site.put_label(image, path, params)
        except requests.RequestException:
            self.doubt(entry)
            raise
        if answer.status_code == 200:
            self.acknowledge(entry, answer.json())
        else:  # refused: all of it or nothing may have reached the collection before the disk was full
            self.doubt(entry)
        return answer

    def doubt(self, entry: Entry) -> None:
        with self._lock:
            self.unsure.append(entry)
            self.files.setdefault(entry.image, []).append(entry.body)

    def acknowledge(self, entry: Entry, answer: dict[str, Any]) -> None:
        entry.submission = int(answer["submission"])
        with self._lock:
            self.entries.append(entry)
            self.files[entry.image] = [entry.body]

    @property
    def labelled(self) -> set[tuple[str, int]]:
        """Images and slices (along k) with an acknowledged drawing."""
        with self._lock:
            return {(entry.image, k) for entry in self.entries for k in entry.drawing.slices}

    def check_collection(self, folder: Path, everything: bool = False) -> list[str]:
        """What of the acknowledged labels the collection lacks; nobody may submit meanwhile.

        Args:
            everything: Prove the whole history again, not only what came since the last time.
        """
        collection, problems = Collection(folder, CLASSES), list[str]()
        problems += [f"opening the collection repaired it behind the server: {n}" for n in collection.notices]
        shots = {(shot.image_id, shot.slice): shot.masks for shot in collection.shots()}
        self._settle(shots)
        current: dict[tuple[str, int], dict[str, np.ndarray]] = {}
        for entry in self.entries:
            for z, drawn in entry.drawing.shots.items():
                current[entry.image, z] = drawn
            if entry.submission is None or (entry.submission in self._proved and not everything):
                continue
            for z, drawn in entry.drawing.shots.items():
                kept = [row for row in collection.history(entry.image, z) if row["submission"] == entry.submission]
                if not kept or not _same(collection.shot(kept[0]["shot_id"]).masks, drawn):
                    problems.append(f"{entry.image} slice {z} of submission {entry.submission} is not as it was drawn")
                elif kept[0]["annotator"] != entry.annotator:
                    problems.append(f"submission {entry.submission} is said to be by {kept[0]['annotator']!r}")
            self._proved.add(entry.submission)
        for place, drawn in current.items():
            if place not in shots or not _same(shots[place], drawn):
                problems.append(f"{place[0]} slice {place[1]} in force is not the last one acknowledged")
        problems += [f"{place[0]} slice {place[1]} was never drawn" for place in shots.keys() - current.keys()]
        return problems

    def _settle(self, shots: dict[tuple[str, int], dict[str, np.ndarray]]) -> None:
        """Unsure labels that are in force count from now on; others never came."""
        for entry in self.unsure:
            if all(_same(shots.get((entry.image, z), {}), drawn) for z, drawn in entry.drawing.shots.items()):
                self.entries.append(entry)
        self.unsure.clear()

    def check_served(self, site: ServerProcess, folder: Path) -> list[str]:
        """What of the labels in force the datastore and the server's answers lack."""
        problems: list[str] = []
        last = {(entry.image, k): entry for entry in self.entries for k in entry.drawing.slices}
        for image in sorted({image for image, _ in last}):
            query = {"label": image, "tag": "final"}
            kept = requests.get(f"{site.url}/datastore/label", params=query, timeout=120)
            if image in self.files and (kept.status_code != 200 or kept.content not in self.files[image]):
                problems.append(f"the datastore's label of {image} is not the one submitted last")
            answer = requests.post(f"{site.url}/infer/{MODEL}", params={"image": image, "output": "image"}, timeout=600)
            if answer.status_code != 200:
                problems.append(f"segmenting {image} gave {answer.status_code}: {answer.text[:200]}")
                continue
            file = folder / "answer.nii.gz"
            file.write_bytes(answer.content)
            voxels = np.asarray(nib.load(file).dataobj)
            for (owner, k), entry in last.items():
                for value, name in enumerate(CLASSES, start=1):
                    if owner == image and not np.array_equal(voxels[:, :, k] == value, entry.drawing.plane(k, name)):
                        problems.append(f"{image} slice {k} comes back with another {name} than was drawn")
        return problems


def _same(masks: dict[str, np.ndarray], drawn: dict[str, np.ndarray]) -> bool:
    """Whether masks of a shot are those drawn, all bool (H, W); a class that is not drawn may be absent."""
    return masks.keys() <= drawn.keys() and all(
        np.array_equal(masks.get(name, np.zeros_like(mask)), mask) for name, mask in drawn.items()
    )
