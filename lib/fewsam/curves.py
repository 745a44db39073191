"""Curves of a training run for TensorBoard."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger(__name__)


class Curves:
    """They are there to be looked at: a full disk ends them, and not the run.

    Args:
        events: Folder for the events.
        step: What a killed run wrote beyond this step is dropped.
    """

    def __init__(self, events: Path, step: int) -> None:
        self._board: SummaryWriter | None = None
        with self._tolerant():
            self._board = SummaryWriter(str(events), purge_step=step)

    def add(self, name: str, value: float, step: int) -> None:
        with self._tolerant():
            if self._board is not None:
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        with self._tolerant():
            if self._board is not None:
                self._board.close()

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._board = None
            logger.warning("the curves of this run end here: %s", error)
