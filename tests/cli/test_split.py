"""``fewsam split`` on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fewsam.images.volume import load_volume
from helpers.command_line import refusal, run
from helpers.dicom_series import Slice, write_series


def test_each_phase_becomes_a_folder_that_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slices = [
        Slice(np.full((4, 4), 10 * phase + z), (0, 0, z), extra={"TriggerTime": str(40 * phase)})
        for z in range(3)
        for phase in range(2)
    ]
    cine = write_series(tmp_path / "cine", slices)
    assert run("split", cine, tmp_path / "phases") == 0
    folders = [Path(line) for line in capsys.readouterr().out.split()]
    assert [load_volume(folder).slices[:, 0, 0].tolist() for folder in folders] == [[0, 1, 2], [10, 11, 12]]
    assert "is there already" in refusal(capsys, "split", cine, tmp_path / "phases")
    assert "nothing to split" in refusal(capsys, "split", folders[0], tmp_path / "again")
