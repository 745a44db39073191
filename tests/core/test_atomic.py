"""Files that are replaced whole, and the drafts that a kill leaves."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fewsam.core.atomic import replacing, sweep, write_atomically
from fewsam.core.errors import StorageError

KILLED = """
import os, signal, sys
from pathlib import Path
from fewsam.core.atomic import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_writing(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -9


def test_a_killed_write_leaves_the_old_file_and_a_draft_that_is_swept(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    write_atomically(target, b"old")
    (tmp_path / ".hidden").write_text("somebody's own")
    killed_while_writing(target)
    killed_while_writing(tmp_path / "state.json.other")  # another file, though the name begins alike
    assert target.read_bytes() == b"old"
    assert len(list(tmp_path.glob(".*-*"))) == 2
    assert [path.name.split(".")[1] for path in sweep([tmp_path], name="state.json")] == ["state"]
    assert len(sweep([tmp_path, tmp_path / "none"])) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "state.json"]


def test_a_draft_of_a_process_that_lives_is_left_alone(tmp_path: Path) -> None:
    with replacing(tmp_path / "file") as file:
        assert sweep([tmp_path]) == []
        file.write(b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"
    # In a container the server may come back under the number that it had.
    draft = tmp_path / f".file.{os.getpid()}-abcdefgh"
    draft.write_bytes(b"half")
    assert sweep([tmp_path], own=True) == [draft]


def test_the_bytes_are_on_the_disk_before_the_old_file_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: done.append(f"{os.fstat(number).st_size} bytes") or fsync(number))
    monkeypatch.setattr(os, "replace", lambda *paths: done.append("replaced") or replace(*paths))
    write_atomically(tmp_path / "file", b"whole")
    assert done == ["5 bytes", "replaced"]


def test_an_error_in_the_block_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), replacing(tmp_path / "file"):
        raise KeyError("x")
    with pytest.raises(StorageError, match="disk is full"), replacing(tmp_path / "file"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []
