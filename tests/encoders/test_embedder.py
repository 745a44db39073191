"""The embedder: each slice is encoded once, and background work lets people go first."""

import logging
import threading

import numpy as np
import pytest
import torch

from fewsam.core.config import load_settings
from fewsam.core.device import resolve_device
from fewsam.core.errors import CheckpointError, ConfigError, NotEncodedError, StorageError
from fewsam.encoders import embedder as embedder_module
from fewsam.encoders import encoder_info
from fewsam.encoders.cache import EMBEDDING_BYTES, EMBEDDING_SHAPE, EmbeddingCache
from fewsam.encoders.embedder import Embedder

SIZE = 64
SETTINGS = load_settings(overrides={"encoder": "compact", "input_size": SIZE, "device": "cpu"})


class FakeEncoder:
    """Stands for an encoder: an embedding filled with its slice's first pixel. Counts, and can be made to wait."""

    def __init__(self, device: str = "cpu") -> None:
        self.info = encoder_info(SETTINGS)
        self.device = torch.device(device)
        self.seen: list[int] = []
        self.batches: list[int] = []
        self.builds = 0
        self.before = lambda value: None

    def embed(self, slices: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(slices))
        values = [int(one[0, 0, 0]) for one in slices]
        for value in values:
            self.before(value)
        self.seen += values
        return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, *EMBEDDING_SHAPE)


@pytest.fixture
def encoder(monkeypatch):
    fake = FakeEncoder()

    def build(*_: object, **__: object) -> FakeEncoder:
        fake.builds += 1
        return fake

    monkeypatch.setattr(embedder_module, "build_encoder", build)
    return fake


@pytest.fixture
def cache(tmp_path):
    with EmbeddingCache(tmp_path, 100 * EMBEDDING_BYTES) as opened:
        yield opened


def slices(*values: int) -> np.ndarray:
    """One slice a value; (N, 3, SIZE, SIZE) uint8."""
    return np.stack([np.full((3, SIZE, SIZE), value, np.uint8) for value in values])


def first(embeddings: np.ndarray) -> list[int]:
    return [int(one[0, 0, 0]) for one in embeddings]


def test_each_slice_is_encoded_once_and_comes_back_in_order(cache, encoder):
    embedder = Embedder(SETTINGS, cache)
    assert encoder.builds == 0
    embeddings = embedder.embed(slices(5, 3, 5, 9))
    assert embeddings.shape == (4, *EMBEDDING_SHAPE) and embeddings.dtype == np.float16
    assert first(embeddings) == [5, 3, 5, 9]
    assert first(embedder.embed(slices(9, 1, 3))) == [9, 1, 3]
    assert encoder.seen == [5, 3, 9, 1] and encoder.builds == 1
    again = Embedder(SETTINGS, cache)
    assert first(again.embed(slices(1, 3, 5, 9))) == [1, 3, 5, 9]
    assert encoder.builds == 1  # all cached: no encoder


def test_real_embeddings_are_those_of_the_encoder(cache):
    embedder = Embedder(SETTINGS, cache)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, SIZE, SIZE), np.uint8)
    fresh, cached = embedder.embed(pixels), embedder.embed(pixels)
    assert np.array_equal(fresh, cached) and not np.array_equal(fresh[0], fresh[1])
    assert np.isfinite(fresh).all()


def test_another_encoder_shares_no_embedding(cache, encoder):
    Embedder(SETTINGS, cache).embed(slices(1))
    other = Embedder(load_settings(overrides={"input_size": SIZE, "encoder": "vit_b"}), cache)
    assert other.missing(slices(1)) == 1


def test_no_slices_are_fine(cache, encoder):
    empty = np.zeros((0, 3, SIZE, SIZE), np.uint8)
    assert Embedder(SETTINGS, cache).embed(empty).shape == (0, *EMBEDDING_SHAPE)
    assert Embedder(SETTINGS, cache).ensure(empty) == 0
    assert encoder.builds == 0


@pytest.mark.parametrize("wrong", [np.zeros((1, 3, 32, 32), np.uint8), np.zeros((1, 3, SIZE, SIZE), np.float32)])
def test_other_input_is_refused(cache, encoder, wrong):
    with pytest.raises(ValueError, match="64, 64"):
        Embedder(SETTINGS, cache).embed(wrong)


def test_progress_counts_slices(cache, encoder):
    embedder = Embedder(SETTINGS, cache)
    embedder.embed(slices(1, 2))
    told = []
    embedder.embed(slices(1, 7, 7, 2, 8), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 5), (2, 5), (4, 5), (5, 5)]
    told.clear()
    embedder.ensure(slices(1, 4, 4), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (3, 3)]


def test_ensure_fills_the_cache_and_goes_on_where_it_stopped(cache, encoder):
    embedder = Embedder(SETTINGS, cache)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embedder.ensure(slices(1, 2, 3, 4), progress=stop)
    assert embedder.missing(slices(1, 2, 3, 4, 4)) == 2
    assert embedder.ensure(slices(1, 2, 3, 4)) == 2
    assert encoder.seen == [1, 2, 3, 4]
    assert embedder.ensure(slices(1, 2, 3, 4)) == 0


def test_slices_that_do_not_come_again_need_not_be_stored(cache, encoder):
    embedder = Embedder(SETTINGS, cache)
    assert first(embedder.embed(slices(1, 2), store=False)) == [1, 2]
    assert cache.stats()["entries"] == 0


def test_cached_only_names_how_many_are_missing_and_builds_nothing(cache, encoder):
    Embedder(SETTINGS, cache).ensure(slices(1))
    encoder.builds = 0
    embedder = Embedder(SETTINGS, cache, cached_only=True)
    assert first(embedder.embed(slices(1, 1))) == [1, 1]
    with pytest.raises(NotEncodedError, match="2 slices"):
        embedder.embed(slices(1, 2, 3, 3))
    assert encoder.builds == 0


def test_a_missing_checkpoint_is_told_at_the_first_slice_and_the_next_try_may_work(cache, encoder, monkeypatch):
    built = embedder_module.build_encoder

    def fail(*_: object, **__: object) -> None:
        raise CheckpointError("no weights")

    monkeypatch.setattr(embedder_module, "build_encoder", fail)
    embedder = Embedder(SETTINGS, cache)
    with pytest.raises(CheckpointError):
        embedder.embed(slices(1))
    monkeypatch.setattr(embedder_module, "build_encoder", built)
    assert first(embedder.embed(slices(1))) == [1]


def test_a_full_disk_stops_filling_but_not_a_request(cache, encoder, monkeypatch, caplog):
    def full(*_: object) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr(cache, "put", full)
    embedder = Embedder(SETTINGS, cache)
    with caplog.at_level(logging.WARNING):
        assert first(embedder.embed(slices(1, 2))) == [1, 2]
    assert caplog.text.count("no space left") == 1
    with pytest.raises(StorageError):
        embedder.ensure(slices(3))
    assert first(embedder.embed(slices(3))) == [3]  # the lock was given back


# -- memory and devices


def test_a_gpu_takes_batches_and_halves_them_when_memory_ends(cache, encoder, monkeypatch):
    encoder.device = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    embedder = Embedder(SETTINGS, cache)
    assert first(embedder.embed(slices(*range(20)))) == list(range(20))
    assert encoder.batches == [8, 8, 4]
    encoder.batches.clear()

    def small(batch: torch.Tensor) -> torch.Tensor:
        if len(batch) > 3:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return FakeEncoder.embed(encoder, batch)

    monkeypatch.setattr(encoder, "embed", small)
    assert first(embedder.embed(slices(*range(100, 110)))) == list(range(100, 110))
    assert encoder.batches == [2, 2, 2, 2, 2]
    embedder.embed(slices(200), priority=False)


def test_a_gpu_too_small_for_one_slice_says_what_to_set(cache, encoder, monkeypatch):
    def never(batch: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("out of memory")

    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(encoder, "embed", never)
    with pytest.raises(ConfigError, match="device to cpu"):
        Embedder(SETTINGS, cache).embed(slices(1))


def test_devices_are_checked(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cuda")
    with pytest.raises(ConfigError, match="abacus"):
        resolve_device("abacus")


# -- who goes first


def _background(embedder: Embedder, values: range) -> threading.Thread:
    thread = threading.Thread(target=embedder.embed, args=(slices(*values),), kwargs={"priority": False})
    thread.start()
    return thread


def test_a_request_waits_for_one_background_slice_at_most(cache, encoder):
    begun, go_on, wanted = threading.Event(), threading.Event(), threading.Event()

    def before(value: int) -> None:
        if value == 2:  # the background is in the middle of a slice ...
            begun.set()
            assert go_on.wait(20)

    encoder.before = before
    embedder = Embedder(SETTINGS, cache)
    background = _background(embedder, range(20))
    assert begun.wait(20)
    answers = []

    def ask() -> None:
        with embedder.request():
            wanted.set()
            answers.append(first(embedder.embed(slices(100, 101, 102))))
            answers.append(first(embedder.embed(slices(103))))

    request = threading.Thread(target=ask)
    request.start()  # ... when a request for four comes
    assert wanted.wait(20)
    go_on.set()
    request.join(20)
    background.join(20)
    assert answers == [[100, 101, 102], [103]]
    assert encoder.seen[:7] == [0, 1, 2, 100, 101, 102, 103]
    assert sorted(encoder.seen) == [*range(20), 100, 101, 102, 103]


def test_the_background_waits_while_a_request_is_on(cache, encoder):
    embedder = Embedder(SETTINGS, cache)
    with embedder.request():
        background = _background(embedder, range(3))
        background.join(0.2)
        assert background.is_alive() and encoder.seen == []
        assert first(embedder.embed(slices(9))) == [9]
    background.join(20)
    assert encoder.seen == [9, 0, 1, 2]


def test_a_failed_request_lets_the_background_go_on(cache, encoder):
    embedder = Embedder(SETTINGS, cache)

    def before(value: int) -> None:
        if value == 50:
            raise RuntimeError("broken")

    encoder.before = before
    with pytest.raises(RuntimeError, match="broken"):
        embedder.embed(slices(50))
    background = _background(embedder, range(2))
    background.join(20)
    assert not background.is_alive() and encoder.seen == [0, 1]


def test_a_slice_wanted_by_many_threads_is_encoded_once(cache, encoder):
    embedder = Embedder(SETTINGS, cache)
    start, answers = threading.Barrier(6), []

    def ask(priority: bool) -> None:
        start.wait(20)
        answers.append(first(embedder.embed(slices(*range(8)), priority=priority)))

    threads = [threading.Thread(target=ask, args=(index % 2 == 0,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [list(range(8))] * 6
    assert sorted(encoder.seen) == list(range(8))
