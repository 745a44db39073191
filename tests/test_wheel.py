"""The wheel holds all that an installed fewsam needs, declares what it runs on, and works without the repository."""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from fewsam.core.app_folder import MAIN
from fewsam.core.version import __version__
from helpers.server_harness import REPOSITORY

SOURCES = ("pyproject.toml", "README.md", "LICENSE", "packaging/runtime.txt")
PACKAGED = (".py", ".yaml", ".safetensors")  # and the built panel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make wheel` does, from a copy: a build leaves files beside its sources."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        (copy / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, copy / name)
    shutil.copytree(
        REPOSITORY / "lib", copy / "lib", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "node_modules")
    )
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", copy / "dist", copy], check=True, capture_output=True, text=True)
    (built,) = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files as pip lays them into site-packages."""
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_every_source_and_data_file_is_in_it(installed: Path) -> None:
    library = REPOSITORY / "lib" / "fewsam"
    files = {path for path in library.rglob("*") if path.suffix in PACKAGED and "viewer" not in path.parts}
    wanted = {path.relative_to(library) for path in files | set((library / "server/viewer/dist").glob("*.js"))}
    packed = {path.relative_to(installed / "fewsam") for path in (installed / "fewsam").rglob("*") if path.is_file()}
    assert packed == wanted
    assert {Path("core/configs/ct-abdomen.yaml"), Path("server/viewer/dist/fewsam.js")} <= packed


def test_it_declares_what_fewsam_runs_on(installed: Path) -> None:
    (metadata,) = installed.glob("*.dist-info/METADATA")
    declared = email.message_from_string(metadata.read_text(encoding="utf-8"))
    lines = [line.split("#")[0].strip() for line in (REPOSITORY / "packaging/runtime.txt").read_text().splitlines()]
    pinned = {str(Requirement(line)) for line in lines if line}
    needed = [line for line in declared.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {str(Requirement(line)) for line in needed} == pinned
    assert len(pinned) > 90
    assert "fewsam = fewsam.cli:main" in (metadata.parent / "entry_points.txt").read_text()


def test_one_version_everywhere(installed: Path) -> None:
    (folder,) = installed.glob("*.dist-info")
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    newest, date = re.findall(r"^## (\S+) - (\S+)$", (REPOSITORY / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert folder.name == f"fewsam-{__version__}.dist-info"
    assert (cited["version"], str(cited["date-released"])) == (newest, date) == (__version__, date)


def test_it_works_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """The app folder and the presets, in a process that knows no repository."""
    program = """if True:
        import json, fewsam
        from fewsam.cli import main
        from fewsam.core.config import load_settings, presets
        code = main(["app"])
        print(json.dumps([fewsam.__file__, code, load_settings("ct-abdomen").intensity, presets()]))
        """
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    folder, answers = done.stdout.splitlines()
    assert Path(folder) == tmp_path / "fewsam-app"
    assert (tmp_path / "fewsam-app" / "main.py").read_text() == MAIN
    module, code, intensity, presets = json.loads(answers)
    assert Path(module).is_relative_to(installed)
    assert (code, intensity) == (0, "window")
    assert presets == sorted(path.stem for path in (REPOSITORY / "configs").glob("*.yaml"))


def test_the_repositorys_app_is_the_one_that_is_made() -> None:
    assert (REPOSITORY / "apps/fewsam/main.py").read_text(encoding="utf-8") == MAIN
