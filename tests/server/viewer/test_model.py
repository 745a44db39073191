"""What of the panel works without a viewer, in Node: slices with undo and redo, structures by name; its components."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", sorted(path.name for path in Path(__file__).parent.glob("*.test.mjs")))
def test_the_panel_in_node(name: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js here (18 or newer): the panel is not tested without a viewer")
    tests = Path(__file__).with_name(name)
    done = subprocess.run([node, "--test", str(tests)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
