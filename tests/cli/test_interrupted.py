"""Ctrl-C on the real commands with workers: they end at once and cleanly, and the same command goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from fewsam.core.processes import PATIENCE, environment_of
from fewsam.workspace.task_settings import keep_settings
from helpers import tiny_volume as tiny
from helpers.command_line import run
from helpers.tiny_task import conf_arguments

COUNT = 4
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a terminal's Ctrl-C is sent to a group of processes")


def start(*arguments: object) -> subprocess.Popen[str]:
    """A command in a group of processes of its own, as a shell starts it.

    Ctrl-C reaches it even where the tests themselves run in the background of a script, which ignores it.
    """
    command = [sys.executable, "-m", "fewsam.cli", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, env=environment_of(), start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def interrupt(command: subprocess.Popen[str], when: Callable[[], object]) -> str:
    """Press Ctrl-C once ``when`` is true; what the command said."""
    until = time.monotonic() + PATIENCE
    while not when():
        assert command.poll() is None and time.monotonic() < until, command.communicate()
        time.sleep(0.02)
    family = psutil.Process(command.pid).children(recursive=True)
    assert family, "there are workers"
    os.killpg(command.pid, signal.SIGINT)
    said = "".join(command.communicate(timeout=PATIENCE))
    assert command.returncode not in (0, -signal.SIGKILL)
    assert "Traceback" not in said, said
    _, alive = psutil.wait_procs(family, timeout=PATIENCE)
    assert not alive, "no worker is left"
    return said


def entries(folder: Path) -> list[dict]:
    path = folder / "manifest.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(COUNT):
        tiny.write_scan(tmp_path / "images", f"scan{number}", seed=number)
    return tmp_path / "images"


@pytest.mark.slow
def test_encode_goes_on_after_ctrl_c(tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = tmp_path / "task"
    data, line = task / "cache" / "data.mdb", ("encode", images, "--task", task, *conf_arguments())
    interrupt(start(*line, "--workers", "1"), lambda: data.is_file() and data.stat().st_size > 10 << 20)  # some slices
    assert run(*line) == 0
    told = capsys.readouterr().out
    found = re.search(r"(\d+) slices of 4 images: (\d+) encoded, (\d+) cached", told)
    assert found, told
    slices, new, cached = map(int, found.groups())
    assert slices == COUNT * tiny.SHAPE[2] == new + cached and new > 0 and cached > 0


@pytest.mark.slow
def test_segment_goes_on_after_ctrl_c(tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task, out = tmp_path / "task", tmp_path / "out"
    tiny.labelled(task, [4, 6])[0].close()
    keep_settings(task, tiny.settings(input_size=128))
    line = ("segment", images, "--task", task, "--output", out, "--workers", "1")
    interrupt(start(*line), lambda: entries(out))
    done = len(entries(out))
    assert 0 < done < COUNT
    assert run(*line) == 0
    assert f"{COUNT - done} of {COUNT} images segmented, {done} were done before" in capsys.readouterr().out
    named = sorted(Path(entry["image"]).name for entry in entries(out))
    assert named == sorted(path.name for path in images.iterdir()), "each once"
