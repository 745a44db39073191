"""The panel's own logic, in Node: slices with undo and redo, structures by name, drafts, points."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def test_the_logic_of_the_panel_in_node() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js here (18 or newer): the panel's logic is not tested")
    tests = Path(__file__).with_name("model.test.mjs")
    done = subprocess.run([node, "--test", str(tests)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
