"""Kills at random moments: the server, its training process, an export, a start. After each, is everything there?"""

from __future__ import annotations

import logging
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests

from fewsam.collection.taskfile import read_task
from fewsam.core.errors import FewSAMError
from fewsam.core.processes import MODEL, PATIENCE, ProcessError, ServerProcess
from fewsam.evaluation.reliability.ledger import Ledger
from fewsam.evaluation.reliability.studies import SHAPE, TINY, draw, make_studies
from fewsam.fewshot.model.store import ModelStore

logger = logging.getLogger(__name__)

IMAGES = ("a", "b", "c")
# Who is killed, and how often: with a training on, the server leaves a process behind.
VICTIMS = {"server": 4, "server while training": 3, "training": 4, "start": 1, "export": 1}
IDLE_SECONDS = 3.0  # a kill of an untroubled server comes within this time


@dataclass
class Kill:
    """One kill: whom, how long after its work began, what state training was in, and what was found after."""

    number: int
    victim: str
    after: float
    state: str = ""
    restart_seconds: float | None = None
    repaired: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Faults:
    """Works on a server, and kills it.

    Args:
        folder: Emptied, for the server's files.
        seed: Decides drawings, victims and moments.
    """

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.rng = random.Random(seed)
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        make_studies(folder / "studies", IMAGES, SHAPE)
        self.site = ServerProcess(folder, folder / "studies", {**TINY, "auto_train": "every:20"})
        self.ledger = Ledger()
        self.version = 0
        self.kills: list[Kill] = []
        self.longest_left = 0.0  # seconds that a training or export went on after its server was killed
        self._drawn = seed * 1_000_000
        self._usual = {"start": 10.0, "training": 10.0, "export": 5.0}  # seconds that they take, as measured so far

    def run(self, kills: int, progress: Callable[[Kill], None] | None = None, seconds: float | None = None) -> None:
        """Kill ``kills`` times, or until ``seconds`` have passed."""
        until = None if seconds is None else time.monotonic() + seconds
        try:
            self._usual["start"] = self.site.start()
            self._calibrate()
            while len(self.kills) < kills and (until is None or time.monotonic() < until):
                kill = self._one(len(self.kills) + 1)
                self.kills.append(kill)
                if progress:
                    progress(kill)
            if self.kills:
                self.kills[-1].problems += self.ledger.check_collection(self.site.data, everything=True)
        finally:
            self.site.stop()

    def summary(self) -> dict[str, Any]:
        starts = [kill.restart_seconds for kill in self.kills if kill.restart_seconds is not None]
        return {
            "kills": len(self.kills),
            "by_victim": dict(Counter(kill.victim for kill in self.kills)),
            "labels_acknowledged": sum(entry.submission is not None for entry in self.ledger.entries),
            "labels_without_answer_that_were_stored": sum(entry.submission is None for entry in self.ledger.entries),
            "models_published": self.version,
            "restart_seconds_worst": max(starts, default=None),
            "seconds_that_processes_outlived_the_server_at_most": round(self.longest_left, 1),
            "repairs": dict(Counter(notice for kill in self.kills for notice in kill.repaired)),
            "problems": [f"kill {kill.number} ({kill.victim}): {p}" for kill in self.kills for p in kill.problems],
            "each": [asdict(kill) for kill in self.kills],
        }

    def _calibrate(self) -> None:
        """How long a training and an export take, so that kills come at any moment of them."""
        self._submit("a")
        began = time.monotonic()
        self._train()
        self.site.wait(lambda: not self.site.info()["training"]["running"], "the end of the first training")
        self._usual["training"] = time.monotonic() - began
        began = time.monotonic()
        self._export().wait()
        self._usual["export"] = time.monotonic() - began

    def _one(self, number: int) -> Kill:
        victim = self.rng.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        usual = self._usual.get(victim.removeprefix("server while "), IDLE_SECONDS)
        kill = Kill(number, victim, round(self.rng.uniform(0, 1.1 * usual), 3))
        if victim == "start":
            self.site.kill()
            self.site.launch()
            time.sleep(kill.after)
            left = self.site.kill()
        else:
            left = self._work(kill)
        kill.problems += self._check_files(victim, left)
        if self.site.process is None:
            try:
                kill.restart_seconds = round(self.site.start(), 2)
            except ProcessError as error:
                kill.problems.append(f"the server does not start: {error}")
                return kill
        try:
            kill.problems += self._check_server(kill)
        except (requests.RequestException, FewSAMError, OSError) as error:
            kill.problems.append(f"{type(error).__name__}: {error}")
        return kill

    def _work(self, kill: Kill) -> list[psutil.Process]:
        """Annotate, train and export until the moment comes; the processes that the victim leaves behind."""
        over = threading.Event()
        people = [threading.Thread(target=self._annotate, args=(image, over, self.rng.random())) for image in IMAGES]
        for person in people:
            person.start()
        export = self._export() if kill.victim == "export" else None
        try:
            if "training" in kill.victim:
                self._train()
            time.sleep(kill.after)
            kill.state = str(self._stats().get("state", ""))
            if kill.victim.startswith("server"):
                return self.site.kill()
            if export is not None:
                export.kill()
                return []
            for process in self.site.children():
                process.kill()
            return []
        finally:
            over.set()
            for person in people:
                person.join()
            if export is not None:
                export.wait()

    def _annotate(self, image: str, over: threading.Event, seed: float) -> None:
        """One person: draws, looks at the answer, asks for the next slice; until the server is gone."""
        rng = random.Random(seed)
        try:
            while not over.is_set():
                what = rng.random()
                if what < 0.6:
                    self._submit(image, rng)
                elif what < 0.8:
                    query = {"image": image, "output": "image"}
                    requests.post(f"{self.site.url}/infer/{MODEL}", params=query, timeout=300)
                else:
                    requests.post(f"{self.site.url}/activelearning/informative", json={"client_id": image}, timeout=300)
                over.wait(rng.uniform(0, 0.5))
        except requests.RequestException:
            return

    def _submit(self, image: str, rng: random.Random | None = None) -> None:
        self._drawn += 1
        slices = (rng or self.rng).sample(range(SHAPE[2]), 2)
        self.ledger.submit(self.site, image, draw(self._drawn, slices), self.folder, annotator=f"person {image}")

    def _train(self) -> None:
        requests.post(f"{self.site.url}/train/{MODEL}", json={}, timeout=300)  # 429 where one is on: as good

    def _export(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "fewsam.cli", "export", str(self.folder / "task.fewsam"), "--overwrite"]
        with (self.folder / "export.log").open("ab") as log:
            return subprocess.Popen([*command, "--task", str(self.site.data)], stdout=log, stderr=log)

    def _stats(self) -> dict[str, Any]:
        try:
            return dict(self.site.info()["train_stats"][MODEL])
        except (requests.RequestException, KeyError):
            return {}

    def _check_files(self, victim: str, left: list[psutil.Process]) -> list[str]:
        problems: list[str] = []
        if self.site.process is None:
            began = time.monotonic()
            _, alive = psutil.wait_procs(left, timeout=PATIENCE)
            self.longest_left = max(self.longest_left, time.monotonic() - began)
            if alive:
                problems.append(f"{len(alive)} processes outlive the server by {PATIENCE:.0f} s")
                for process in alive:
                    process.kill()
        exported = self.folder / "task.fewsam"
        if victim == "export" and exported.exists():
            try:
                read_task(exported)
            except FewSAMError as error:
                problems.append(f"a killed export left half a file: {error}")
        return problems

    def _check_server(self, kill: Kill) -> list[str]:
        """Labels, model and answers of the running server."""
        self.site.wait(lambda: not self.site.info()["training"]["running"], "the end of training")
        info = self.site.info()
        kill.repaired = list(info.get("repaired", ())) if kill.restart_seconds is not None else []
        problems = self.ledger.check_collection(self.site.data)
        store = ModelStore(self.site.data)
        model = store.load()
        served = model.version if model else 0
        if model and model.notes:
            problems.append(f"the served model is not whole: {model.notes}")
        # One may have been published between the two looks, by labels that came before the kill.
        if served not in (info["model_version"], self.site.info()["model_version"]) or served < self.version:
            problems.append(f"model {served} is served, info says {info['model_version']}, {self.version} was there")
        self.version = served
        if "problem" in info:
            problems.append(f"info says: {info['problem']}")
        return problems + self.ledger.check_served(self.site, self.folder)
