"""Training processes without the seconds of imports: forks of a copy of the server that was made before it had threads.

MONAI Label starts a Python for each training: 5 to 8 s of processor time before the first step, most of it imports. The
server has imported the same things. So it forks once, at its start, when it has one thread and has opened nothing: this
copy, the spare, waits, and shares the server's memory (multiprocessing's fork server would import everything once more,
into memory of its own). A training is a fork of the spare, with the command line and the environment that MONAI Label
would have given it.

Only on Linux and without CUDA, which no fork survives; elsewhere, and when the spare is gone, MONAI Label's own way is
taken. ``FEWSAM_SPARE=false`` has it taken always.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import IO, Any

import torch
from monailabel.utils.async_tasks import utils as tasks

logger = logging.getLogger(__name__)

SWITCH = "FEWSAM_SPARE"  # environment variable
TASK = ["-m", "monailabel.interfaces.utils.app"]  # what MONAI Label starts after the interpreter
LENGTH = struct.Struct("!I")
PATIENCE = 30.0  # seconds for a fork, on a machine that swaps

_spare: Spare | None = None


class Training:
    """A forked training process, as far as MONAI Label uses `subprocess.Popen`."""

    def __init__(self, pid: int, stdout: IO[str], channel: socket.socket) -> None:
        self.pid, self.stdout = pid, stdout
        self.returncode: int | None = None
        self._channel, self._lock = channel, threading.Lock()

    def poll(self) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._channel], [], [], 0)[0]:
                try:
                    self.returncode = _receive(self._channel)["status"]
                    _send(self._channel, {"seen": self.pid})
                except OSError:  # the spare is gone, and nobody else knows how the training ended
                    self.returncode = -signal.SIGKILL
            return self.returncode

    def kill(self) -> None:
        if self.poll() is None:  # until its end was seen here, its number is no other process's
            os.kill(self.pid, signal.SIGKILL)


class Spare:
    """The server's end of the spare."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._channel.settimeout(PATIENCE)
        self._last: Training | None = None

    @property
    def idle(self) -> bool:
        """Whether the last training of the spare has ended: it has one at a time, as MONAI Label does."""
        return self._last is None or self._last.poll() is not None

    def train(self, command: Sequence[str], environment: Mapping[str, str]) -> Training:
        """Begin a training with the command line that follows the interpreter's.

        Raises:
            OSError: the spare is gone; KeyError, ValueError: it answers out of turn.
        """
        read, write = os.pipe()
        try:
            body = json.dumps({"command": list(command), "environment": dict(environment)}).encode()
            socket.send_fds(self._channel, [LENGTH.pack(len(body))], [write])
            self._channel.sendall(body)
            pid = _receive(self._channel)["pid"]
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        self._last = Training(pid, os.fdopen(read, encoding="utf-8", errors="replace"), self._channel)
        return self._last

    def close(self) -> None:
        """The spare ends."""
        self._channel.close()


def prepare() -> None:
    """Make the spare, where this is the server at its start and the system allows it; else do nothing."""
    global _spare
    if _spare is not None or not _possible():
        return
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        try:
            ours.close()
            _wait(theirs)
        finally:
            os._exit(0)
    theirs.close()
    _spare = Spare(ours)
    # MONAI Label starts its tasks as `subprocess.Popen` of this module.
    tasks.subprocess = SimpleNamespace(Popen=begin, PIPE=subprocess.PIPE, STDOUT=subprocess.STDOUT)


def begin(command: Sequence[str], **options: Any) -> Any:
    """`subprocess.Popen`, but for a training while the spare is there."""
    global _spare
    if _spare is not None and list(command[1:5]) == [*TASK, "-m", "train"] and _spare.idle:
        try:
            return _spare.train(command[1:], options["env"])
        except (OSError, KeyError, ValueError) as error:  # whatever it is, the training takes place
            logger.warning("this training and the next take some seconds more to start: no spare process (%s)", error)
            _spare.close()
            _spare = None
    return subprocess.Popen(command, **options)


def _possible() -> bool:
    if os.environ.get(SWITCH, "").casefold() in ("0", "false", "no", "off"):
        return False
    if not sys.platform.startswith("linux") or not hasattr(os, "pidfd_open") or torch.cuda.is_available():
        return False
    try:
        asyncio.get_running_loop()  # the web server's; in a command or a training process there is none
        os.close(os.pidfd_open(os.getpid()))
    except (RuntimeError, OSError):
        return False
    return threading.current_thread() is threading.main_thread() and threading.active_count() == 1


# -- in the spare


def _wait(channel: socket.socket) -> None:
    """Fork a training for each request; returns when the server has ended."""
    signal.set_wakeup_fd(-1)  # it is the server's loop that would be woken
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the server, and that ends the spare
    watched: list[int] = []  # descriptors that tell the end of a training
    while True:
        for ready in select.select([channel.fileno(), *watched], [], [])[0]:
            if ready in watched:
                ended = os.waitid(os.P_PIDFD, ready, os.WEXITED | os.WNOWAIT)
                assert ended is not None
                watched.remove(ready)
                os.close(ready)
                _send(channel, {"status": ended.si_status * (1 if ended.si_code == os.CLD_EXITED else -1)})
                continue
            try:
                length, descriptors, *_ = socket.recv_fds(channel, LENGTH.size, 1)
                request = json.loads(_read(channel, *LENGTH.unpack(length)))
            except (OSError, struct.error):
                return
            if "seen" in request:  # not before: as with any process, its number is kept until its end was asked for
                os.waitpid(request["seen"], 0)
                continue
            pid = os.fork()
            if pid == 0:
                channel.close()
                _become(request["command"], request["environment"], descriptors[0])
            os.close(descriptors[0])
            watched.append(os.pidfd_open(pid))
            _send(channel, {"pid": pid})


def _become(command: list[str], environment: dict[str, str], output: int) -> None:
    """Be the process that MONAI Label would have started; does not return."""
    status = 1
    try:
        for number in (1, 2):
            os.dup2(output, number)
        os.close(output)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(line_buffering=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _forget_the_server(environment)
        from monailabel.interfaces.utils import app

        app.clear_cache()
        sys.argv[:] = [app.__file__, *command[len(TASK) :]]
        app.run_main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _forget_the_server(environment: Mapping[str, str]) -> None:
    """What a new process would not have: the server's environment, settings and log, and its being a server."""
    from monailabel.config import settings

    from fewsam.server.tasks.train import SERVER_PROCESS

    os.environ.clear()
    # The spare ends with the server, and is the one whose end this process can see.
    os.environ.update({**environment, SERVER_PROCESS: str(os.getppid())})
    settings.__init__()  # reads the environment anew
    sys.modules.pop("monailabel.app", None)
    for one in (logging.root, *map(logging.getLogger, list(logging.root.manager.loggerDict))):
        one.handlers.clear()
        one.filters.clear()
        one.propagate, one.disabled = True, False
        one.setLevel(logging.WARNING if one is logging.root else logging.NOTSET)


# -- both ends


def _send(channel: socket.socket, message: Mapping[str, int]) -> None:
    body = json.dumps(message).encode()
    try:
        channel.sendall(LENGTH.pack(len(body)) + body)
    except OSError:  # the server has ended, which the next look finds
        return


def _receive(channel: socket.socket) -> dict[str, int]:
    return dict(json.loads(_read(channel, *LENGTH.unpack(_read(channel, LENGTH.size)))))


def _read(channel: socket.socket, length: int) -> bytes:
    """Exactly ``length`` bytes.

    Raises:
        OSError: the other end is gone.
    """
    body = b""
    while len(body) < length:
        part = channel.recv(length - len(body))
        if not part:
            raise ConnectionResetError("the other end is gone")
        body += part
    return body
