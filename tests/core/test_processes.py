"""Processes of ours: none is left behind, and one that does not start says why."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fewsam.core.processes import PacsProcess, ProcessError, ServerProcess, end, environment_of, unused_port

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def test_an_unused_port_can_be_bound() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", unused_port()))


def test_one_that_ignores_the_request_ends_all_the_same_and_so_does_what_it_started() -> None:
    process = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as out:
        child = psutil.Process(int(out.readline()))
    end(process, seconds=0.5)
    assert process.returncode == -9
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_the_environment_holds_this_installation_and_none_of_the_callers_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONAI_LABEL_AUTH_ENABLE", "true")
    monkeypatch.setenv("FEWSAM_API_KEY", "the key of another server")
    monkeypatch.setenv("PYTHONPATH", "theirs")
    env = environment_of(tmp_path, {"MONAI_LABEL_DATASTORE": "x", "PYTHONPATH": "mine"})
    assert not {"MONAI_LABEL_AUTH_ENABLE", "FEWSAM_API_KEY"} & set(env)
    assert env["MONAI_LABEL_DATASTORE"] == "x"
    assert env["MONAI_LABEL_SESSION_PATH"] == str(tmp_path / "sessions")
    paths = env["PYTHONPATH"].split(os.pathsep)
    assert (paths[0], paths[-1]) == ("mine", "theirs")
    assert any(Path(path, "fewsam", "core", "processes.py").exists() for path in paths)
    assert env["PATH"].startswith(str(Path(sys.executable).parent))


@pytest.mark.usefixtures("cold_starts")
def test_a_server_that_ends_while_starting_says_why(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, tmp_path / "studies", {"lables": "liver"})
    (tmp_path / "studies").mkdir()
    with pytest.raises(ProcessError, match=r"(?s)ended before the start of the server.*labels"):
        server.start()
    server.stop()
    assert server.children() == []


def test_a_pacs_without_its_folder_does_not_start(tmp_path: Path) -> None:
    pacs = PacsProcess(tmp_path / "missing")
    with pytest.raises(ProcessError, match="did not start"):
        pacs.start()
    assert pacs.process is None


def test_a_server_that_ends_while_something_is_waited_for_is_reported_at_once(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, tmp_path)
    server.url = f"http://127.0.0.1:{unused_port()}"
    server.log.write_text("out of memory")
    server.process = subprocess.Popen([sys.executable, "-c", "pass"])
    server.process.wait()
    for condition in (server.info, lambda: False):  # it does not answer, or what was waited for cannot come
        with pytest.raises(ProcessError, match=r"ended before the end of training:\nout of memory"):
            server.wait(condition, "the end of training")
