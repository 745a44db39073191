"""Images encoded by the workers of a pool, while this process alone reads the images and writes the cache.

A slice is named by its content, so that one which the cache holds is not sent, and one that comes twice changes
nothing. What a dead worker, a lost cluster or Ctrl-C leaves undone is what the next run finds missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fewsam.core.errors import ImageError
from fewsam.core.jobs import Done, Job, as_finished
from fewsam.core.pool import Pool
from fewsam.encoders.embedder import BATCH
from fewsam.encoders.slices import EncoderSlices
from fewsam.encoders.worker import encode_batch, packed
from fewsam.images.sequences import load_image
from fewsam.workspace.workspace import Workspace

JOB = BATCH  # slices of a job; a worker without a GPU takes them one by one


@dataclass
class Encoded:
    """What has become of the images so far.

    Attributes:
        images: Those that are encoded completely.
        slices: Of the images that could be read.
        new: Slices that were encoded now.
        cached: Slices that were there before, or come twice.
        failed: Image -> why it is not encoded.
    """

    images: int = 0
    slices: int = 0
    new: int = 0
    cached: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def encode_images(
    workspace: Workspace, pool: Pool, paths: Sequence[Path], progress: Callable[[Encoded, str], None] | None = None
) -> Encoded:
    """Fill the task's cache with the slices of ``paths``.

    Args:
        progress: Called with the counts and the name of the image that they changed for.

    Raises:
        FewSAMError: the cluster is gone, or the disk is full. What was encoded stays.
    """
    work = _Encoding(workspace, progress or (lambda encoded, name: None))
    for done in as_finished(pool, work.jobs(paths)):
        work.take(done)
    return work.encoded


class _Encoding:
    """Reads images into jobs, and puts what comes back into the cache."""

    def __init__(self, workspace: Workspace, progress: Callable[[Encoded, str], None]) -> None:
        self.workspace, self.progress = workspace, progress
        self.encoded = Encoded()
        self._waiting: Counter[str] = Counter()  # image -> its slices that are under way, and 1 while it is read
        self._seen: set[str] = set()

    def jobs(self, paths: Sequence[Path]) -> Iterator[Job]:
        batch: list[tuple[str, np.ndarray, str]] = []
        for path in dict.fromkeys(paths):
            name = str(path)
            self._waiting[name] = 1
            try:
                for one in self._missing(path):
                    batch.append((*one, name))
                    self._waiting[name] += 1
                    if len(batch) == JOB:
                        yield self._job(batch)
                        batch = []
            except ImageError as error:  # one bad file must not end a long run
                self.encoded.failed[name] = str(error)
            self._one_less(name)
        if batch:
            yield self._job(batch)

    def take(self, done: Done) -> None:
        """Store what a job gave, or note which images it failed for."""
        keys, names = done.job.about
        if done.error is not None:
            self.encoded.failed |= dict.fromkeys(names, done.why)
        else:
            for key, embedding in zip(keys, done.value, strict=True):
                self.workspace.cache.put(key, embedding)
                self.encoded.new += 1
                self.workspace.keep()  # from here on there is something to go on from
        for name in names:
            self._one_less(name)

    def _missing(self, path: Path) -> Iterator[tuple[str, np.ndarray]]:
        """Key and pixels (3, S, S) of the slices that are neither cached nor under way."""
        embedder, settings = self.workspace.embedder, self.workspace.settings
        slices = EncoderSlices(load_image(path, settings.axis, settings.sequences), settings, embedder)
        self.encoded.slices += slices.volume.depth
        for chunk in slices.chunks():
            inputs = slices.inputs(slices.raw(chunk))
            keys = embedder.keys(inputs)
            for key, pixels, there in zip(keys, inputs, self.workspace.cache.contains(keys), strict=True):
                if there or key in self._seen:
                    self.encoded.cached += 1
                else:
                    self._seen.add(key)
                    yield key, pixels

    def _job(self, batch: list[tuple[str, np.ndarray, str]]) -> Job:
        keys, pixels, names = zip(*batch, strict=True)
        settings = self.workspace.settings.model_dump(mode="json")
        fingerprint = self.workspace.embedder.info.fingerprint
        return Job(names[0], encode_batch, (settings, fingerprint, packed(np.stack(pixels))), (keys, names))

    def _one_less(self, name: str) -> None:
        self._waiting[name] -= 1
        if not self._waiting[name] and name not in self.encoded.failed:
            self.encoded.images += 1
        self.progress(self.encoded, name)
