"""Encoding on workers: the same embeddings as in this process, only what is missing, and damage to one image alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fewsam.core.cluster import open_pool
from fewsam.core.pool import Pool, ProcessPool
from fewsam.encoders import encoder_info
from fewsam.encoders.slices import EncoderSlices
from fewsam.encoders.worker import encode_batch, packed
from fewsam.images.volume import load_volume
from fewsam.workspace.encode import Encoded, encode_images
from fewsam.workspace.workspace import Workspace
from helpers import tiny_volume as tiny


@pytest.fixture(scope="module")
def pool():
    with ProcessPool(1) as one:
        yield one


def scans(folder: Path, count: int) -> list[Path]:
    return [tiny.write_scan(folder, f"s{number}", seed=number)[0] for number in range(count)]


def embeddings(workspace: Workspace, path: Path) -> list[np.ndarray | None]:
    slices = EncoderSlices(load_volume(path), workspace.settings, workspace.embedder)
    keys = workspace.embedder.keys(slices.inputs(slices.raw(range(slices.volume.depth))))
    return workspace.cache.get_many(keys)


def test_the_same_embeddings_once_and_resumed(tmp_path: Path, pool: Pool) -> None:
    paths = scans(tmp_path, 2)
    twin = Path(shutil.copy(paths[0], tmp_path / "twin.nii.gz"))
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"no image")
    settings = tiny.settings(input_size=64)
    told: list[tuple[int, int]] = []
    with Workspace(settings, tmp_path / "here") as here, Workspace(settings, tmp_path / "pool") as there:
        depth = load_volume(paths[0]).depth
        assert here.encode(load_volume(paths[0])) == depth
        found = encode_images(there, pool, [paths[0], bad, twin], lambda so_far, _: told.append(_counts(so_far)))
        assert _counts(found) == (2, depth) and found.cached == depth, "equal slices are encoded once"
        assert list(found.failed) == [str(bad)] and "cannot be read" in found.failed[str(bad)]
        assert told == sorted(told) and told[-1] == (2, depth)
        for mine, theirs in zip(embeddings(here, paths[0]), embeddings(there, paths[0]), strict=True):
            assert mine is not None and theirs is not None
            assert np.array_equal(mine, theirs)
        again = encode_images(there, pool, paths)
        assert _counts(again) == (2, depth) and again.cached == depth, "the second image alone was missing"


def test_a_worker_with_other_weights_is_refused_by_name(tmp_path: Path, pool: Pool) -> None:
    (path,) = scans(tmp_path, 1)
    with Workspace(tiny.settings(input_size=64), tmp_path / "task") as workspace:
        object.__setattr__(workspace.embedder.info, "fingerprint", "0" * 64)  # as if the weights here were others
        found = encode_images(workspace, pool, [path])
    assert found.images == found.new == 0
    assert "other weights of the encoder compact" in found.failed[str(path)]


def test_grey_slices_are_sent_as_one_channel() -> None:
    grey = np.repeat(np.random.default_rng(0).integers(0, 256, (2, 1, 64, 64), np.uint8), 3, axis=1)
    colour = grey.copy()
    colour[1, 2, 0, 0] ^= 1
    assert packed(grey).shape == (2, 1, 64, 64) and packed(colour).shape == (2, 3, 64, 64)
    settings = tiny.settings(input_size=64)
    values, fingerprint = settings.model_dump(mode="json"), encoder_info(settings).fingerprint
    assert np.array_equal(encode_batch(values, fingerprint, packed(grey)), encode_batch(values, fingerprint, grey))


def test_the_slices_of_a_killed_worker_are_encoded_by_another(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    from fewsam.evaluation.scaling.loopback_cluster import LoopbackCluster

    paths = scans(tmp_path, 3)
    with (
        LoopbackCluster(tmp_path / "cluster", 2) as cluster,
        open_pool(1, cluster.address) as dask,
        Workspace(tiny.settings(input_size=64), tmp_path / "task") as workspace,
    ):
        killed = []

        def kill_one(so_far: Encoded, _: str) -> None:
            if so_far.new and not killed:
                killed.append(so_far.new)
                cluster.kill_worker()

        found = encode_images(workspace, dask, paths, kill_one)
        slices = sum(load_volume(path).depth for path in paths)
        assert killed and killed[0] < slices
        assert _counts(found) == (3, slices) and not found.failed and not found.cached
        assert workspace.cache.stats()["entries"] == slices


def _counts(found: Encoded) -> tuple[int, int]:
    return found.images, found.new
