"""A disk that is full: a small file system of its own, filled to the last bytes before each kind of write."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import requests

from fewsam.collection.taskfile import read_task
from fewsam.core.errors import FewSAMError
from fewsam.core.processes import MODEL, ServerProcess
from fewsam.evaluation.reliability.ledger import Ledger
from fewsam.evaluation.reliability.studies import SHAPE, TINY, draw, make_studies
from fewsam.fewshot.model.store import ModelStore

MEGABYTES = 400
# Bytes left free: each lets the write get a little further before the disk is full.
LEFT = (0, 8 << 10, 48 << 10, 96 << 10, 192 << 10, 1 << 20, 3 << 20)


class NoDiskError(FewSAMError):
    """No file system of its own can be mounted here."""


@contextmanager
def small_disk(folder: Path, megabytes: int = MEGABYTES) -> Iterator[Path]:
    """A tmpfs at ``folder``; the system's administrator may mount one, or a user in a name space of one's own.

    Raises:
        NoDiskError: neither is allowed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NoDiskError(f"no small file system can be mounted here: {error}") from None
    if done.returncode:
        raise NoDiskError(f"no small file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


@contextmanager
def filled(disk: Path, left: int) -> Iterator[None]:
    """``disk`` is full but for ``left`` bytes."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        block = bytes(1 << 20)
        while True:
            try:
                if file.write(block) < len(block):
                    break
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                break
        file.truncate(max(0, file.tell() - left))
    try:
        yield
    finally:
        filler.unlink()


def enter_name_space() -> None:
    """Run this command again as the root of a name space where it may mount; returns where that is not needed."""
    if os.name != "posix" or os.geteuid() == 0 or not shutil.which("unshare"):
        return
    command = ["unshare", "--user", "--mount", "--map-root-user"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
        os.execvp(command[0], [*command, sys.executable, "-m", "fewsam.cli.attack", *sys.argv[1:]])


@dataclass
class Full:
    """One write on a full disk: what it was, how much was left, how the server answered, what was found after."""

    write: str
    left: int
    answer: str = ""
    problems: list[str] = field(default_factory=list)


class DiskFull:
    """Fills the disk, has the server write, makes room again.

    Args:
        disk: A small file system, for studies and app; ``folder`` lies elsewhere.
    """

    def __init__(self, disk: Path, folder: Path) -> None:
        self.disk, self.folder = disk, folder
        folder.mkdir(parents=True, exist_ok=True)
        make_studies(disk / "studies", ("a", "b"), SHAPE)
        conf = {**TINY, "precompute": "false", "cache_gb": 0.15}
        self.site = ServerProcess(folder, disk / "studies", conf, app=disk / "app")
        self.ledger = Ledger()
        self.done: list[Full] = []
        self._drawn = 10_000

    def run(self, left: Sequence[int] = LEFT, progress: Callable[[Full], None] | None = None) -> None:
        try:
            self.site.start()
            self._submit()
            for write in (self._label, self._segment, self._train, self._export, self._start):
                for size in left:
                    one = Full(write.__name__.lstrip("_"), size)
                    self._try(one, write)
                    self.done.append(one)
                    if progress:
                        progress(one)
        finally:
            self.site.stop()

    def summary(self) -> dict[str, Any]:
        return {
            "writes": len(self.done),
            "refused": sum(not one.answer.startswith("200") for one in self.done),
            "labels_acknowledged": len(self.ledger.entries),
            "problems": [f"{one.write} with {one.left} bytes left: {p}" for one in self.done for p in one.problems],
            "each": [asdict(one) for one in self.done],
        }

    def _try(self, one: Full, write: Callable[[Full], None]) -> None:
        try:
            with filled(self.disk, one.left):
                write(one)
            one.problems += self._check()
        except (requests.RequestException, FewSAMError, OSError) as error:
            one.problems.append(f"{type(error).__name__}: {error}")

    # -- the writes

    def _submit(self) -> requests.Response:
        self._drawn += 1
        return self.ledger.submit(self.site, "ab"[self._drawn % 2], draw(self._drawn, [1, 5]), self.folder, "ann")

    def _label(self, one: Full) -> None:
        """Collection, second copy, label file, the datastore's index, the record of files."""
        answer = self._submit()
        one.answer = f"{answer.status_code} {'' if answer.ok else answer.json()['detail']}"
        if answer.status_code not in (200, 507):
            one.problems.append(f"a label was answered with {one.answer}")

    def _segment(self, one: Full) -> None:
        """The embedding cache, what was served, and the answer's own file."""
        answer = requests.post(f"{self.site.url}/infer/{MODEL}?image=a&output=image", timeout=600)
        one.answer = f"{answer.status_code} {'' if answer.ok else answer.json()['detail']}"
        if answer.status_code not in (200, 507):
            one.problems.append(f"segmenting was answered with {one.answer}")

    def _train(self, one: Full) -> None:
        """Progress, the run's checkpoint, the decoder, its pointer."""
        answer = requests.post(f"{self.site.url}/train/{MODEL}", json={}, timeout=120)
        one.answer = f"{answer.status_code}"
        if answer.status_code == 200:
            self.site.wait(lambda: not self.site.info()["training"]["running"], "the end of training")
            stats = self.site.info()["train_stats"][MODEL]
            one.answer += f" {stats.get('state')} {stats.get('error', '')}"
        elif answer.status_code != 507:
            one.problems.append(f"training was answered with {answer.status_code}: {answer.text[:200]}")

    def _export(self, one: Full) -> None:
        file = self.disk / "task.fewsam"
        command = [sys.executable, "-m", "fewsam.cli", "export", str(file), "--overwrite"]
        done = subprocess.run([*command, "--task", str(self.site.data)], capture_output=True, text=True, check=False)
        one.answer = f"{200 if done.returncode == 0 else done.returncode} {done.stderr.strip()[-200:]}"
        if done.returncode not in (0, 1) or "Traceback" in done.stderr:
            one.problems.append(f"the export ended with {done.returncode}: {done.stderr[-300:]}")
        if file.exists():
            read_task(file)  # whole, or an error

    def _start(self, one: Full) -> None:
        self.site.kill()
        seconds = self.site.start()
        one.answer = f"200 after {seconds:.0f} s"

    def _check(self) -> list[str]:
        """With room again: labels, model and answers, and that a further label is taken."""
        problems = self.ledger.check_collection(self.site.data)
        model = ModelStore(self.site.data).load()
        if model is not None and model.notes:
            problems.append(f"the served model is not whole: {model.notes}")
        problems += self.ledger.check_served(self.site, self.folder)
        answer = self._submit()
        if answer.status_code != 200:
            problems.append(f"with room again a label was answered with {answer.status_code}: {answer.text[:200]}")
        return problems
