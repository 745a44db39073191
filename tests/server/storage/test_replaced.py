"""One label file of an image in a folder, of whatever kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fewsam.server.storage.datastore import FolderDatastore
from fewsam.server.storage.replaced import labels_of
from helpers.server_harness import write_label


def test_a_label_of_another_kind_takes_the_place_of_the_one_before(tmp_path: Path, studies: Path) -> None:
    datastore = FolderDatastore(str(studies), watch=False, read_only=False)
    final = studies / "labels" / "final"
    labels = {ending: write_label(tmp_path / f"x{ending}", np.full((40, 36, 10), n + 1)) for n, ending in
              enumerate((".nii.gz", ".nii"))}  # fmt: skip
    datastore.save_label("a", str(labels[".nii.gz"]), "final", {})
    by_hand = write_label(final / "a.nii", np.full((40, 36, 10), 7)).read_bytes()  # from another program
    write_label(final / "a.b.nii.gz", np.ones((40, 36, 10)))  # of another image
    datastore.save_label("a", str(labels[".nii.gz"]), "final", {})
    assert [file.name for file in labels_of(final, "a")] == ["a.nii.gz"]
    (kept,) = final.glob("a.nii.replaced-*")
    assert kept.read_bytes() == by_hand and (final / "a.b.nii.gz").exists()
    datastore.save_label("a", str(labels[".nii"]), "final", {})
    assert [file.name for file in labels_of(final, "a")] == ["a.nii"]
    assert Path(datastore.get_label_uri("a", "final")).read_bytes() == labels[".nii"].read_bytes()
    assert not list(final.glob("a.nii.gz*")), "what the server itself had written is in the collection"
