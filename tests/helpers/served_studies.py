"""A server on small images that stays up for all tests of a file: some labelled, one with NaN, one that is long."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np

from fewsam.evaluation.reliability.studies import make_studies
from helpers.server_harness import QUICK, Server, write_label

A_SLICES = [4, 5]


@contextmanager
def serve_studies(root: Path) -> Iterator[SimpleNamespace]:
    """A running server with small images, one with NaN, one that is long, and two labelled slices of image a.

    ``empty`` is what it answered before there was a label.
    """
    studies = root / "studies"
    truth = make_studies(studies, ("a", "b", "c", "d", "e"))
    truth |= make_studies(studies, ("long",), shape=(96, 96, 24))
    voxels = np.zeros((8, 8, 4), np.float32)
    voxels[2, 2, 2] = np.nan
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), studies / "broken.nii.gz")
    with Server(root / "server", studies, conf=QUICK | {"precompute": "false"}) as server:
        empty = server.infer("a")
        first = server.put_label("a", write_label(root / "a.nii.gz", truth["a"], A_SLICES))
        first.raise_for_status()
        assert "not_kept" not in first.json()
        yield SimpleNamespace(server=server, truth=truth, root=root, studies=studies, empty=empty, first=first.json())


def submissions(server: Server) -> int:
    """How many labels the collection's file holds."""
    with sqlite3.connect(next(server.data.glob("collection*.sqlite"))) as db:
        return int(db.execute("SELECT COUNT(*) FROM submissions").fetchone()[0])
