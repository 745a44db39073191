"""Loaded before any test module, whatever the order of its imports; and the fixtures of several modules."""

from __future__ import annotations

import logging
import multiprocessing.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fewsam  # noqa: F401  test modules import segment_anything above fewsam, which makes torchvision importable
from fewsam.core.processes import ServerProcess
from helpers import forkserver as warm

# Files that take half a minute or more, the longest first: at the end no worker waits for another. `--durations 15` of
# `make test` and `make test-slow` say which they are.
LONG = (
    "evaluation/reliability/test_reliability.py", "server/viewer/test_ohif.py", "fewshot/selftraining/test_improve.py",
    "fewshot/training/test_checkpoint.py", "test_loop.py", "evaluation/loop/test_loop.py",
    "server/viewer/test_nothing_lost.py", "fewshot/test_device.py", "server/viewer/test_ohif_trouble.py",
    "server/tasks/test_unlabelled.py", "fewshot/inference/test_predictor.py", "evaluation/test_evidence.py",
    "cli/test_commands.py", "server/viewer/test_layouts.py", "cli/test_interrupted.py",
    "fewshot/training/test_train.py", "server/routes/test_viewer_folder.py", "evaluation/loop/test_rest.py",
    "server/test_restart.py", "workspace/test_segment.py", "test_packaging.py", "server/test_several_people.py",
    "evaluation/methods/test_ours.py", "cli/test_full_disk.py", "synthetic/test_phantom.py",
    "cli/test_segment_pacs.py", "server/test_pacs_server.py", "workspace/test_import_task.py", "server/test_labels.py",
    "server/viewer/test_panel.py", "images/test_imagebounds.py", "server/viewer/test_lab.py", "evaluation/test_pool.py",
    "evaluation/test_responses.py", "server/test_app.py", "server/background/test_prefork.py",
    "server/viewer/test_next_slice.py", "workspace/test_task.py", "fewshot/registration/test_propagation.py",
    "fewshot/selftraining/test_pool.py", "evaluation/test_run.py", "server/viewer/test_return.py",
    "server/test_lab_day.py", "workspace/test_anonymous.py", "server/guard/test_api_key.py", "core/test_pool.py",
)  # fmt: skip


DISK = 4 << 30  # bytes that a whole run may have on the disk at once: twice what was seen


def pytest_sessionstart(session: pytest.Session) -> None:
    """On a disk that fills up hundreds of tests fail, each in its own words: say it once, before the first."""
    if hasattr(session.config, "workerinput"):  # a worker; the process that started it has looked
        return
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < DISK:
        pytest.exit(
            f"{folder} has {free / 2**30:.1f} GB free; the tests want {DISK / 2**30:.0f}. Free some, or name another "
            "folder: TMPDIR=/another/folder make test",
            returncode=1,
        )


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What servers and other programs leave in the system's temporary folder goes when the tests end."""
    # Not inside: pytest's own, which stays for a look at what failed, and multiprocessing's, which it removes itself.
    tmp_path_factory.getbasetemp()
    multiprocessing.util.get_temp_dir()
    with (
        tempfile.TemporaryDirectory(prefix="fewsam-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session", autouse=True)
def warm_starts(temporary_files: None) -> Iterator[None]:
    """Servers are forks of a process that has the libraries (`warm`)."""
    with pytest.MonkeyPatch.context() as patch:
        if "forkserver" in multiprocessing.get_all_start_methods() and not os.environ.get("FEWSAM_COLD"):
            patch.setattr(ServerProcess, "_begin", warm.begin)
        yield


@pytest.fixture
def cold_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are started as people start them."""
    monkeypatch.setattr(ServerProcess, "_begin", warm.begin_cold)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    names = {item.path: item.path.relative_to(Path(__file__).parent).as_posix() for item in items}
    items.sort(key=lambda item: LONG.index(names[item.path]) if names[item.path] in LONG else len(LONG))


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """A command that is run in this process logs to a terminal that the next test no longer has."""
    logger = logging.getLogger("fewsam")
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


_untrained: dict[int, dict[str, Any]] = {}


@pytest.fixture(autouse=True)
def untrained_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compact encoder's untrained weights take a second of each test that encodes, and are always the same: drawn
    once in each process of tests (`tests/encoders/test_compact.py` takes this away)."""
    from fewsam.encoders import build_compact, compact, untrained

    def remembered(network: compact.CompactEncoder, seed: int) -> None:
        if seed not in _untrained:
            untrained.initialise(network, seed)
            _untrained[seed] = {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(_untrained[seed])

    monkeypatch.setattr(build_compact, "initialise", remembered)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty download folder."""
    folder = tmp_path / "home"
    monkeypatch.setenv("FEWSAM_HOME", str(folder))
    monkeypatch.setattr("fewsam.encoders.download._memo", {})
    return folder


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A tiny SAM with random weights, registered as vit_b."""
    import segment_anything
    import torch

    from helpers.tiny_encoders import tiny_sam

    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_b", tiny_sam)
    torch.manual_seed(0)
    model = tiny_sam().eval()
    for name, parameter in model.named_parameters():
        if "pos" in name:  # zero at the start, so that a mistake with it would not show
            torch.nn.init.normal_(parameter)
    return model


@pytest.fixture
def collection(tmp_path: Path) -> Any:
    """An empty collection for `drawings`."""
    from fewsam.collection import Collection
    from helpers.collection_drawings import LABELS

    return Collection(tmp_path / "collection", LABELS)


@pytest.fixture
def volume() -> Any:
    """The volume that `drawings` are on."""
    from helpers.collection_drawings import make_volume

    return make_volume()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a collection for `submissions`."""
    return tmp_path / "collection"


@pytest.fixture
def filled(folder: Path) -> dict[int, int]:
    """A collection of a few submissions in ``folder``: id -> seed."""
    from fewsam.collection import Collection
    from helpers.seeded_submissions import drawing, make_volume

    collection = Collection(folder, accept_new=True)
    return {collection.submit(make_volume(), "p1", drawing(seed)).submission: seed for seed in range(1, 9)}
