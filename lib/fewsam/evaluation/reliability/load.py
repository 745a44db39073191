"""Eight annotators, who ask as MONAI Label's own client does, and a viewer's requests on one server at a time."""

from __future__ import annotations

import json
import logging
import random
import shutil
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

from fewsam.core.processes import MODEL, ServerProcess
from fewsam.evaluation.reliability.client import AnnotatorClient
from fewsam.evaluation.reliability.gauges import Gauges
from fewsam.evaluation.reliability.ledger import Entry, Ledger
from fewsam.evaluation.reliability.studies import TINY, draw, make_studies

IMAGES, SHAPE = 10, (64, 64, 40)
THINKING = (2.0, 8.0)  # seconds that a drawing takes
BURST = 80  # inferences at once, more than the queue takes

Place = tuple[str, int]


class Load:
    """Annotators at work.

    Args:
        folder: Emptied, for the server's files.
        annotators: How many people; one viewer session comes on top.
    """

    def __init__(self, folder: Path, annotators: int = 8, seed: int = 0, images: int = IMAGES) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.folder = folder
        self.images = [f"p{number:02d}" for number in range(images)]
        make_studies(folder / "studies", self.images, SHAPE)
        # Whoever draws changes a few slices of the order of the settings; trainings come by themselves.
        self.site = ServerProcess(folder, folder / "studies", {**TINY, "auto_train": "every:25", "steps": 20})
        self.ledger = Ledger()
        self.people = [f"annotator {number}" for number in range(annotators)]
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.gauges: Gauges | None = None
        self._held: dict[str, Place] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._burst: dict[str, Any] = {}

    def run(self, minutes: float) -> None:
        try:
            self.site.start()
            with Gauges(self.site) as self.gauges:
                threads = [threading.Thread(target=self._annotate, args=(person,)) for person in self.people]
                threads.append(threading.Thread(target=self._view))
                for thread in threads:
                    thread.start()
                self._over.wait(60 * minutes)
                self._over.set()
                for thread in threads:
                    thread.join()
            self._overrun()
            self.site.wait(lambda: not self.site.info()["training"]["running"], "the end of training")
            self.problems += self.ledger.check_collection(self.site.data, everything=True)
            self.problems += self.ledger.check_served(self.site, self.folder)
            self.counts["trainings published"] = self.site.info()["model_version"]
        finally:
            self._over.set()
            self.site.stop()

    def summary(self) -> dict[str, Any]:
        measured = self.gauges.summary() if self.gauges else {}
        return {
            "annotators": len(self.people),
            "requests": dict(self.counts),
            "labels_acknowledged": len(self.ledger.entries),
            **measured,
            "burst": self._burst,
            "problems": self.problems,
        }

    def _annotate(self, person: str) -> None:
        rng = random.Random(f"{self.seed} {person}")
        drawings = self.folder / "drawings" / person.replace(" ", "-")
        drawings.mkdir(parents=True)
        client = AnnotatorClient(self.site.url, person)
        mine: list[Place] = []
        while not self._over.is_set():
            try:
                place = self._ask(person, lambda: client.next_sample("informative"))
                if place is None:  # all are labelled or held: look at one of one's own again
                    place = rng.choice(mine) if mine else None
                if place is None:
                    self._over.wait(1)
                    continue
                if rng.random() < 0.3:
                    client.infer(place[0])
                    self.counts["inferences"] += 1
                self._over.wait(rng.uniform(*THINKING))
                self._submit(client, person, place, rng.randrange(1 << 30), drawings)
                mine.append(place)
            except Exception as error:  # whatever is raised here is what a person would see
                self._problem(f"{person}: {type(error).__name__}: {error}")
                self._over.wait(1)

    def _ask(self, person: str, ask: Any) -> Place | None:
        """The next slice for a person; noted where another holds it or somebody had labelled it before."""
        with self._lock:
            self._held.pop(person, None)
            labelled = self.ledger.labelled
        offered = ask()
        self.counts["next slices"] += 1
        if not offered:
            return None
        place = str(offered["id"]), int(offered["slice"])
        with self._lock:
            others = [other for other, held in self._held.items() if held == place]
            if others:
                self.problems.append(f"{person} was sent to {place}, where {others[0]} is")
            if place in labelled:
                self.problems.append(f"{person} was sent to {place}, which was labelled before")
            self._held[person] = place
        return place

    def _submit(self, client: AnnotatorClient, person: str, place: Place, seed: int, folder: Path) -> None:
        image, k = place
        drawing = draw(seed, [k], SHAPE)
        path = drawing.save(folder / "label.nii.gz")
        entry = Entry(image, drawing, path.read_bytes(), person)
        params = {"label_info": drawing.label_info, "absent_classes": "complete"}
        answer = client.save_label(image, path, params)
        self.ledger.acknowledge(entry, answer)
        self.counts["labels"] += 1
        with self._lock:
            # Several people label one image: which file comes last is not known here.
            self.ledger.files.pop(image, None)
            self._held.pop(person, None)

    def _view(self) -> None:
        """What a browser session asks for: the state every two seconds, a volume and a next slice now and then."""
        rng = random.Random(self.seed)
        session = requests.Session()
        while not self._over.wait(2.0):
            try:
                image = rng.choice(self.images)
                query = {"image": image}
                session.get(f"{self.site.url}/fewsam/state", params=query, timeout=300).raise_for_status()
                self.counts["viewer states"] += 1
                if rng.random() < 0.1:
                    session.post(f"{self.site.url}/fewsam/segment", params=query, timeout=300).raise_for_status()
                    self.counts["viewer segmentations"] += 1
                if rng.random() < 0.1:
                    body = {"client_id": "viewer"}
                    url = f"{self.site.url}/fewsam/next"
                    self._ask("viewer", lambda url=url, body=body: session.post(url, json=body, timeout=300).json())
            except requests.RequestException as error:
                self._problem(f"viewer: {type(error).__name__}: {error}")

    def _overrun(self) -> None:
        """More inferences at once than the queue takes: each is answered, or refused with words."""

        def one(number: int) -> tuple[int, str]:
            query = {"image": self.images[number % len(self.images)], "output": "json"}
            params = {"params": (None, json.dumps({"slices": [0]}))}
            answer = requests.post(f"{self.site.url}/infer/{MODEL}", params=query, files=params, timeout=900)
            return answer.status_code, answer.text[:200]

        began = time.monotonic()
        with ThreadPoolExecutor(BURST) as pool:
            answers = list(pool.map(one, range(BURST)))
        statuses = Counter(status for status, _ in answers)
        refusals = sorted({text for status, text in answers if status == 503})
        self._burst = {
            "inferences_at_once": BURST,
            "statuses": {str(status): count for status, count in statuses.items()},
            "refusal": refusals[:1],
            "seconds": round(time.monotonic() - began, 1),
        }
        if set(statuses) - {200, 503} or not statuses[200]:
            self.problems.append(f"a burst of {BURST} inferences was answered with {dict(statuses)}")

    def _problem(self, text: str) -> None:
        logging.getLogger(__name__).warning("%s", text)
        with self._lock:
            self.problems.append(text)
