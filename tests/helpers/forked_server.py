"""What a fork of the libraries' process does to be a server (`warm`). Imports nothing of ours: the server does."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path


def serve(command: list[str], environment: dict[str, str], folder: str, log: str) -> None:
    """Be ``python -m`` with this command line (the module first), environment, working folder and log."""
    with Path(log).open("ab") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    installed = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]
    sys.path[:] = [folder, *environment["PYTHONPATH"].split(os.pathsep), *dict.fromkeys(installed)]
    sys.argv[:] = command
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)
