"""The packages of lib/fewsam import those below them only, and a wrong import is seen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = REPOSITORY / "lib" / "fewsam"


def check_layers(root: Path) -> subprocess.CompletedProcess[str]:
    """What `make lint` runs, on the packages in ``root/lib`` by the contracts in ``root/pyproject.toml``."""
    program = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(root / "lib"), "COLUMNS": "200"}
    command = [str(program), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Sources of the packages, to plant a wrong import in."""
    for file in PACKAGES.rglob("*.py"):
        target = tmp_path / "lib" / "fewsam" / file.relative_to(PACKAGES)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_packages_keep_their_layers() -> None:
    checked = check_layers(REPOSITORY)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "0 broken" in checked.stdout


@pytest.mark.parametrize(
    ("file", "planted", "broken"),
    [
        ("core/atomic.py", "from fewsam.collection.store import Collection", "Packages import those below them"),
        ("images/volume.py", "def late():\n    import fewsam.cli.app", "Packages import those below them"),
        ("evaluation/run.py", "import fewsam.server.errors", "Packages import those below them"),
        ("fewshot/model/losses.py", "import fewsam.fewshot.training.run", "training imports inference"),
        ("server/routes/panel.py", "import fewsam.server.app", "Only the app knows"),
        ("images/volume.py", "from monailabel.client import MONAILabelClient", "Only the server imports monailabel"),
        ("core/errors.py", "import fewsam.core.config", "in a circle"),
        ("newcomer.py", "", "Packages import those below them"),  # a package or module that no layer names
    ],
)
def test_a_planted_wrong_import_is_caught(copy: Path, file: str, planted: str, broken: str) -> None:
    with (copy / "lib" / "fewsam" / file).open("a") as module:
        module.write(f"\n\n{planted}\n")
    checked = check_layers(copy)
    assert checked.returncode == 1, checked.stdout + checked.stderr
    report = checked.stdout.partition("Broken contracts")[2]
    assert broken in report
    assert Path(file).stem in report


def test_at_most_ten_entries_at_the_top() -> None:
    packages = [path.name for path in PACKAGES.iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert len(packages) <= 10, packages
