"""Children that are killed in the middle of their work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

# One process that has imported everything forks a child for each line it reads.
_FORKS = """
import os, sys
for line in sys.stdin:
    child = os.fork()
    if child:
        print("child", child, flush=True)
        os.waitpid(child, 0)
        print("dead", flush=True)
        continue
    work(line)
"""


def killed(code: str, arguments: Sequence[str], delays: Iterable[float]) -> Iterator[list[str]]:
    """What each child had printed when it was killed, line by line.

    Args:
        code: Python that defines ``work(line)``, which goes on for ever and writes to descriptor 1. It is called in a
            new child with the child's number, counted from 0.
        arguments: ``sys.argv[1:]`` there.
        delays: Seconds from the fork to the kill, for each child.
    """
    command = [sys.executable, "-c", code + _FORKS, *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        for number, delay in enumerate(delays):
            worker.stdin.write(f"{number}\n")
            worker.stdin.flush()
            child = int(worker.stdout.readline().removeprefix("child "))
            time.sleep(delay)
            os.kill(child, signal.SIGKILL)
            yield list(iter(worker.stdout.readline, "dead\n"))
        worker.stdin.close()
