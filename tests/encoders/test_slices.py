"""A volume's slices on their way into the encoder."""

import numpy as np
import pytest

from fewsam.encoders.cache import EmbeddingCache
from fewsam.encoders.embedder import Embedder
from fewsam.encoders.slices import EncoderSlices, descriptors, embed_volume
from fewsam.images.preprocess import Intensity
from fewsam.images.volume import load_volume
from helpers.tiny_encoders import settings
from helpers.tiny_volume import write_scan


@pytest.fixture
def volume(tmp_path):
    return load_volume(write_scan(tmp_path)[0])  # twelve slices


@pytest.fixture
def embedder(tmp_path):
    with EmbeddingCache(tmp_path / "cache", 2**26) as cache:
        yield Embedder(settings(encoder="compact", input_size=64), cache)


def test_chunks_name_every_slice_once(volume, embedder):
    slices = EncoderSlices(volume, settings(), embedder)
    assert list(slices.chunks()) == [range(4), range(4, 8), range(8, 12)]
    assert list(slices.chunks(8)) == [range(8), range(8, 12)]


def test_inputs_are_shown_between_black_and_white(volume, embedder):
    slices = EncoderSlices(volume, settings(), embedder, Intensity(1e6, 2e6))
    raw = slices.raw([0, 5])
    assert raw.shape == (2, 3, *volume.slices.shape[1:3])
    assert np.array_equal(raw[:, 1], volume.slices[[0, 5]])
    assert (slices.inputs(raw) == 0).all(), "everything is below the given black"
    chosen = EncoderSlices(volume, settings(), embedder)
    assert chosen.inputs(raw).shape == (2, 3, 64, 64)
    assert chosen.inputs(raw).max() > 200


def test_a_volume_is_described_slice_by_slice(volume, embedder):
    found = embed_volume(volume, settings(), embedder)
    assert found.shape == (12, 256)
    assert embedder.cache.stats()["entries"] == 12, "each slice is in the cache"
    slices = EncoderSlices(volume, settings(), embedder)
    one = slices.embed([4])
    assert np.array_equal(descriptors(one)[0], found[4])
    assert np.allclose(found[4], one[0].astype(np.float64).mean(axis=(1, 2)), atol=1e-4)
