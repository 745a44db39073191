"""What became of each DICOM SEG in the PACS, kept over restarts."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from fewsam.core.atomic import write_atomically
from fewsam.server.paths import read_json


class SegRecord:
    """SOP Instance UID -> ``sent`` (by this server), ``taken``, ``refused``, or ``prediction`` (no label)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def outcome(self, uid: str) -> str | None:
        """What was done with this object; None for a new one."""
        return read_json(self._path).get(uid)

    def add(self, uid: str, outcome: str) -> None:
        with self._lock:
            self._write({**read_json(self._path), uid: outcome})

    def forget_refusals(self) -> None:
        """Let refused objects be tried again: the settings may have changed since."""
        with self._lock:
            known = read_json(self._path)
            if "refused" in known.values():
                self._write({uid: outcome for uid, outcome in known.items() if outcome != "refused"})

    def _write(self, known: dict[str, str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, json.dumps(known).encode())
