"""Files damaged while the server is down, and a clock that steps back."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import requests

from fewsam.core.errors import FewSAMError
from fewsam.core.processes import MODEL, ProcessError, ServerProcess
from fewsam.evaluation.reliability.ledger import Ledger
from fewsam.evaluation.reliability.studies import SHAPE, TINY, draw, make_studies
from fewsam.fewshot.model.store import ModelStore

DAY = 86_400
# Imported by every Python process that has its folder on the path: the clock that the server reads is off by as many
# seconds as the file says.
CLOCK = """
import time
from pathlib import Path
_file = Path({file!r})
_time, _time_ns = time.time, time.time_ns
def _offset():
    try:
        return int(_file.read_text())
    except (OSError, ValueError):
        return 0
time.time = lambda: _time() + _offset()
time.time_ns = lambda: _time_ns() + _offset() * 1_000_000_000
"""


@dataclass
class Case:
    """One damage: what the server said that it repaired, and what was found after."""

    name: str
    repaired: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def truncated(path: Path) -> None:
    with path.open("rb+") as file:
        file.truncate(int(path.stat().st_size * 0.6))


def flipped(path: Path) -> None:
    """A bit near the end is another one."""
    body = bytearray(path.read_bytes())
    body[-5] ^= 0x10
    path.write_bytes(body)


def overwritten(path: Path) -> None:
    """The first half is rubbish."""
    body = path.read_bytes()
    path.write_bytes(b"rubbish!" * (len(body) // 16) + body[len(body) // 2 :])


def scratched(path: Path) -> None:
    """Every fourth page of a database, but not its first, is zeros."""
    body = bytearray(path.read_bytes())
    for start in range(4 * 4096, len(body), 4 * 4096):
        body[start : start + 4096] = bytes(min(4096, len(body) - start))
    path.write_bytes(body)


def removed(path: Path) -> None:
    path.unlink()


class Damage:
    """Damages one file after the other under a killed server, and looks after the restart."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.folder = folder
        self.clock = folder / "clock"
        # Nobody draws on the third: after many cases there must be slices left that two people could be sent to.
        make_studies(folder / "studies", ("a", "b", "c"), SHAPE)
        shim = folder / "shim"
        shim.mkdir(parents=True)
        (shim / "sitecustomize.py").write_text(textwrap.dedent(CLOCK.format(file=str(self.clock))))
        self.site = ServerProcess(folder, folder / "studies", TINY, {"PYTHONPATH": str(shim)})
        self.ledger = Ledger()
        self.done: list[Case] = []
        self._drawn = 20_000

    def run(self, progress: Callable[[Case], None] | None = None, only: str = "") -> None:
        """Every case, or those whose name holds ``only``."""
        try:
            self.site.start()
            self._work()
            self._train()
            for name, pattern, damage, said in self._cases():
                if only not in name:
                    continue
                case = Case(name)
                self._try(case, pattern, damage, said)
                self.done.append(case)
                if progress:
                    progress(case)
            if only in "settings overwritten":
                case = Case("settings overwritten")
                self._damage_settings(case)
                self.done.append(case)
                if progress:
                    progress(case)
            if only in "clock stepping back":
                case = Case("clock stepping back")
                self._step_back(case)
                self.done.append(case)
                if progress:
                    progress(case)
        finally:
            self.site.stop()

    def summary(self) -> dict[str, Any]:
        return {
            "cases": len(self.done),
            "labels_acknowledged": len(self.ledger.entries),
            "problems": [f"{case.name}: {problem}" for case in self.done for problem in case.problems],
            "each": [asdict(case) for case in self.done],
        }

    @staticmethod
    def _cases() -> list[tuple[str, str, Callable[[Path], None], bool]]:
        """Name, file, damage, and whether the server must say that it repaired something."""
        decoder, cache = "versions/decoder-*.safetensors", "cache/data.mdb"
        return [
            ("cache truncated", cache, truncated, True),
            ("cache overwritten", cache, overwritten, True),
            ("cache removed", cache, removed, False),
            ("checkpoint truncated", decoder, truncated, True),
            ("checkpoint with a bit flipped", decoder, flipped, True),
            ("checkpoint's pointer overwritten", "current.json", overwritten, True),
            ("run's checkpoint overwritten", "training/run.safetensors", overwritten, False),
            ("collection truncated", "collection.sqlite", truncated, True),
            ("collection overwritten", "collection.sqlite", overwritten, True),
            ("collection scratched", "collection.sqlite", scratched, True),
            ("collection removed", "collection.sqlite", removed, True),
            ("collection's copy truncated", "collection.copy.sqlite", truncated, True),
            ("collection's copy removed", "collection.copy.sqlite", removed, False),
            ("record of label files overwritten", "labels_seen.sqlite", overwritten, True),
            ("datastore's index truncated", "../../../studies/datastore_v2.json", truncated, True),
            ("progress file overwritten", "train_stats.json", overwritten, False),
        ]

    def _try(self, case: Case, pattern: str, damage: Callable[[Path], None], said: bool) -> None:
        data = self.site.data
        self._leave()
        files = sorted(data.glob(pattern)) if "*" in pattern else [(data / pattern).resolve()]
        if not files or not files[-1].exists():
            if said:
                case.problems.append(f"there is no file {pattern} to damage")
        else:
            damage(files[-1])
        try:
            self.site.start()
            case.repaired = self.site.info()["repaired"]
            if said and not case.repaired:
                case.problems.append("the server does not say that it repaired anything")
            case.problems += self._check()
            self._work()
            self._train()
        except (requests.RequestException, FewSAMError, OSError, KeyError) as error:
            case.problems.append(f"{type(error).__name__}: {error}")

    def _damage_settings(self, case: Case) -> None:
        """Nobody but a person knows what stood in a file of settings: the server names it, and does not start."""
        self._leave()
        file = self.site.data / "task.yaml"
        whole = file.read_bytes()
        overwritten(file)
        try:
            self.site.start()
            case.problems.append("the server starts as if the settings were whole")
        except ProcessError as error:
            if str(file) not in str(error):
                case.problems.append(f"the refusal does not name {file}: {error}")
        file.write_bytes(whole)
        self._try(case, "task.yaml", lambda _: None, False)

    def _leave(self) -> None:
        for process in self.site.kill():
            process.kill()

    def _step_back(self, case: Case) -> None:
        """A day back while the server runs, and again over a restart; then forward again."""
        try:
            for offset in (-DAY, -3 * DAY, 0):
                held = self._next("before")
                self.clock.write_text(str(offset))
                if self._next("after") == held:
                    case.problems.append("two people were sent to one slice after the clock stepped")
                self._work()
                self._train()
                case.problems += self._check()
                self._leave()
                self.site.start()
                case.repaired += self.site.info()["repaired"]
                case.problems += self._check()
        except (requests.RequestException, FewSAMError, OSError) as error:
            case.problems.append(f"{type(error).__name__}: {error}")

    def _next(self, client: str) -> tuple[str, int]:
        body = {"client_id": client}
        offered = requests.post(f"{self.site.url}/activelearning/informative", json=body, timeout=120).json()
        return str(offered.get("id")), int(offered.get("slice", -1))

    def _work(self) -> None:
        for image in ("a", "b"):
            self._drawn += 1
            drawing = draw(self._drawn, [self._drawn % 8, (self._drawn + 3) % 8])
            answer = self.ledger.submit(self.site, image, drawing, self.folder, annotator="ann")
            answer.raise_for_status()

    def _train(self) -> None:
        before = self.site.info()["model_version"]
        requests.post(f"{self.site.url}/train/{MODEL}", json={}, timeout=120).raise_for_status()
        self.site.wait(lambda: not self.site.info()["training"]["running"], "the end of training")
        after = self.site.info()["model_version"]
        if after <= before:
            raise ProcessError(f"training published nothing: model {after} after {before}\n{self.site.tail()}")

    def _check(self) -> list[str]:
        problems = self.ledger.check_collection(self.site.data, everything=True)
        model = ModelStore(self.site.data).load()
        if model is not None and model.notes:
            problems.append(f"the served model is not whole: {model.notes}")
        if "problem" in self.site.info():
            problems.append(f"info says: {self.site.info()['problem']}")
        return problems + self.ledger.check_served(self.site, self.folder)
