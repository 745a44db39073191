"""Training processes without the seconds of imports: forks of a copy of the server, made before it had threads.

MONAI Label starts a Python for each training. Before its first step that process needs 5 to 8 s of processor time, most
of them for imports, and the server has imported the same modules. So the server forks once, at its start, while it has
one thread and has opened nothing. This copy, the template process, waits and shares the server's memory;
multiprocessing's fork server would import everything once more, into memory of its own. A training is a fork of the
template process, with the command line and the environment that MONAI Label would have given it.

This works on Linux without CUDA only: CUDA survives no fork. Elsewhere, and when the template process has ended,
trainings start in MONAI Label's own way. ``FEWSAM_PREFORK=false`` makes them always start so.
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

from fewsam.server.environment import switched_on

logger = logging.getLogger(__name__)

SWITCH = "FEWSAM_PREFORK"  # environment variable
OLD_SWITCH = "FEWSAM_SPARE"  # its name in earlier versions
TASK = ["-m", "monailabel.interfaces.utils.app"]  # what MONAI Label starts after the interpreter
LENGTH = struct.Struct("!I")
PATIENCE = 30.0  # seconds for a fork, on a machine that swaps

_template: Template | None = None


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
                except OSError:  # the template process has ended, and nobody else knows how the training ended
                    self.returncode = -signal.SIGKILL
            return self.returncode

    def kill(self) -> None:
        if self.poll() is None:  # until its end was seen here, its number is no other process's
            os.kill(self.pid, signal.SIGKILL)


class Template:
    """The server's end of the channel to the template process."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._channel.settimeout(PATIENCE)
        self._last: Training | None = None

    @property
    def idle(self) -> bool:
        """Whether the last training has ended: the template process has one at a time, as MONAI Label does."""
        return self._last is None or self._last.poll() is not None

    def train(self, command: Sequence[str], environment: Mapping[str, str]) -> Training:
        """Begin a training with the command line that follows the interpreter's.

        Raises:
            OSError: the template process has ended.
            KeyError, ValueError: it gave an answer that was not asked for.
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
        """End the template process."""
        self._channel.close()


def prepare() -> None:
    """Make the template process, if this is the server at its start and the system allows it; else do nothing."""
    global _template
    if _template is not None or not _possible():
        return
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        try:
            ours.close()
            _wait(theirs)
        finally:
            os._exit(0)
    theirs.close()
    _template = Template(ours)
    # MONAI Label starts its tasks as `subprocess.Popen` of this module.
    tasks.subprocess = SimpleNamespace(Popen=begin, PIPE=subprocess.PIPE, STDOUT=subprocess.STDOUT)


def begin(command: Sequence[str], **options: Any) -> Any:
    """Start a command as `subprocess.Popen` does; a training is forked while there is a template process."""
    global _template
    if _template is not None and list(command[1:5]) == [*TASK, "-m", "train"] and _template.idle:
        try:
            return _template.train(command[1:], options["env"])
        except (OSError, KeyError, ValueError) as error:  # the training takes place all the same
            logger.warning(
                "this training and later ones take some seconds more to start: there is no template process (%s)", error
            )
            _template.close()
            _template = None
    return subprocess.Popen(command, **options)


def _wanted() -> bool:
    """Whether the environment variable, under its new or its old name, leaves this on."""
    if SWITCH not in os.environ and OLD_SWITCH in os.environ:
        logger.warning("%s is now called %s; the old name still works", OLD_SWITCH, SWITCH)
        return switched_on(OLD_SWITCH, default=True)
    return switched_on(SWITCH, default=True)


def _possible() -> bool:
    if not _wanted():
        return False
    if not sys.platform.startswith("linux") or not hasattr(os, "pidfd_open") or torch.cuda.is_available():
        return False
    try:
        asyncio.get_running_loop()  # the web server's; in a command or a training process there is none
        os.close(os.pidfd_open(os.getpid()))
    except (RuntimeError, OSError):
        return False
    return threading.current_thread() is threading.main_thread() and threading.active_count() == 1


# -- in the template process


def _wait(channel: socket.socket) -> None:
    """Fork a training for each request; returns when the server has ended."""
    signal.set_wakeup_fd(-1)  # otherwise signals would wake the server's event loop
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the server, and its end ends this process
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
            if "seen" in request:  # the server knows the end, so that the process number may be used again
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
    except KeyboardInterrupt:  # Ctrl-C in the terminal reaches this process too, and says all that there is to say
        status = 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _forget_the_server(environment: Mapping[str, str]) -> None:
    """Drop what a new process would not have: the server's environment, settings, log handlers and web app."""
    from monailabel.config import settings

    from fewsam.server.tasks.train import SERVER_PROCESS

    os.environ.clear()
    # The template process ends with the server, and this process can see the end of its parent alone.
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
    except OSError:  # the server has ended, which the next read finds
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
