"""Trainings as forks of the server: what they are given, and what happens without them."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import psutil
import pytest

from fewsam.evaluation.reliability.studies import make_studies
from fewsam.server.background import prefork
from helpers.server_harness import MODEL, QUICK, Server, write_label

linux = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the system cannot watch a process by a descriptor")
LONG = {"steps": 100000, "train_seconds": 600}


def template_of(server: Server) -> psutil.Process:
    """The fork that waits."""
    assert server.process is not None
    [found] = [p for p in psutil.Process(server.process.pid).children() if p not in server.children()]
    return found


@pytest.mark.slow
@linux
def test_a_training_is_a_fork_and_without_the_template_process_a_new_process(tmp_path: Path) -> None:
    truth = make_studies(tmp_path / "studies", ("a",))
    with Server(tmp_path, tmp_path / "studies", conf=QUICK | {"precompute": "false"}) as server:
        waiting = template_of(server)
        server.put_label("a", write_label(tmp_path / "a.nii.gz", truth["a"], [3, 5])).raise_for_status()

        server.client.train_start(MODEL, LONG)
        server.wait(lambda: server.client.info()["train_stats"][MODEL].get("step"), "the first training step")
        [training] = server.children()
        assert training.ppid() == waiting.pid
        assert server.client.train_stop()["status"] == "STOPPED"
        psutil.wait_procs([training], timeout=60)
        assert not training.is_running() or training.status() == psutil.STATUS_ZOMBIE

        assert server.train()["state"] == "done", server.tail()
        assert (server.infer("a")[1]["model_version"], template_of(server)) == (1, waiting)
        assert server.log.read_text().count("Initializing App") == 3  # the server's and two trainings'

        waiting.kill()
        assert server.train()["state"] == "done", server.tail()
        assert server.infer("a")[1]["model_version"] == 2
        assert server.log.read_text().count("no template process") == 1


@pytest.mark.slow
@linux
def test_the_template_process_and_its_training_end_with_a_killed_server(tmp_path: Path) -> None:
    truth = make_studies(tmp_path / "studies", ("a",))
    server = Server(tmp_path, tmp_path / "studies", conf=QUICK | {"precompute": "false"})
    try:
        server.start()
        server.put_label("a", write_label(tmp_path / "a.nii.gz", truth["a"], [3, 5])).raise_for_status()
        server.client.train_start(MODEL, LONG)
        server.wait(lambda: server.client.info()["train_stats"][MODEL].get("step"), "the first training step")
        left = [template_of(server), *server.children()]
        assert server.process is not None and len(left) == 2
        server.process.kill()
        _, alive = psutil.wait_procs(left, timeout=120)
        assert alive == []
    finally:
        server.stop()


def test_only_a_server_that_may_makes_one(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    prefork.prepare()  # no web server in this process
    assert prefork._template is None
    monkeypatch.setattr("asyncio.get_running_loop", lambda: None)
    monkeypatch.setattr("threading.active_count", lambda: 1)
    assert prefork._possible() is hasattr(os, "pidfd_open")
    monkeypatch.setenv(prefork.SWITCH, "false")
    assert not prefork._possible()
    monkeypatch.delenv(prefork.SWITCH)
    monkeypatch.setenv(prefork.OLD_SWITCH, "false")
    with caplog.at_level("WARNING"):
        assert not prefork._possible()
    assert "FEWSAM_SPARE is now called FEWSAM_PREFORK" in caplog.text
    monkeypatch.delenv(prefork.OLD_SWITCH)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert not prefork._possible()


def test_a_training_whose_template_process_is_gone_counts_as_killed() -> None:
    ours, theirs = socket.socketpair()
    with ours, Path(os.devnull).open() as nothing:
        training = prefork.Training(os.getpid(), nothing, ours)
        assert training.poll() is None
        theirs.close()
        assert training.poll() == training.returncode == -signal.SIGKILL
        training.kill()  # whoever has the number now


def test_other_tasks_and_programs_start_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(prefork, "_template", prefork.Template(ours))
    for command in (["true"], ["true", *prefork.TASK, "-m", "batch_infer", "-r", "{}"]):
        assert prefork.begin(command, env={**os.environ}).wait() == 0
    theirs.close()  # and a training too, once the template process is gone
    assert prefork.begin(["true", *prefork.TASK, "-m", "train"], env={**os.environ}).wait() == 0
    assert prefork._template is None


def test_an_answer_out_of_turn_does_not_stop_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(prefork, "_template", prefork.Template(ours))
    prefork._send(theirs, {"status": 0})  # of a training that nobody knows
    assert prefork.begin(["true", *prefork.TASK, "-m", "train"], env={**os.environ}).wait() == 0
    assert prefork._template is None
    theirs.close()


@linux
def test_ctrl_c_ends_a_training_without_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("monailabel.interfaces.utils.app.run_main", interrupted)
    monkeypatch.setattr(prefork, "_forget_the_server", lambda environment: None)
    output = os.open(tmp_path / "output", os.O_CREAT | os.O_WRONLY)
    child = os.fork()
    if child == 0:
        prefork._become(list(prefork.TASK), {}, output)
    os.close(output)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
    assert (tmp_path / "output").read_text() == ""
