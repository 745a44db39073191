"""The embedding cache: contract, bound, pins and keys."""

import random

import numpy as np
import pytest

from fewsam.core.errors import StorageError
from fewsam.encoders import cache as cache_module
from fewsam.encoders import cache_order
from fewsam.encoders.cache import EMBEDDING_BYTES, EMBEDDING_SHAPE, TRAINING, EmbeddingCache, embedding_key
from fewsam.encoders.cache_order import note_use
from helpers.cached_embeddings import BIG, constant, embedding, filled


def test_an_embedding_comes_back_bit_for_bit_also_after_reopening(tmp_path):
    with EmbeddingCache(tmp_path, BIG) as cache:
        assert cache.get("a") is None
        cache.put("a", embedding(1))
        cache.put("b", embedding(2).astype(np.float32))
    with EmbeddingCache(tmp_path, BIG) as cache:
        one, none, two = cache.get_many(["a", "nothing", "b"])
        assert one.dtype == np.float16 and one.shape == EMBEDDING_SHAPE
        assert np.array_equal(one, embedding(1)) and none is None and np.array_equal(two, embedding(2))
        assert cache.contains(["b", "nothing", "a"]) == [True, False, True]
        one[:] = 0  # the caller's own: the stored one stays
        assert np.array_equal(cache.get("a"), embedding(1))


def test_putting_a_key_again_replaces_it(tmp_path):
    with EmbeddingCache(tmp_path, BIG) as cache:
        cache.put("a", constant(1))
        cache.put("a", constant(2))
        assert cache.get("a")[0, 0, 0] == 2
        assert cache.stats() == {"entries": 1, "bytes": EMBEDDING_BYTES, "max_bytes": BIG, "pinned": 0}


def test_a_wrong_shape_is_refused(tmp_path):
    with EmbeddingCache(tmp_path, BIG) as cache, pytest.raises(ValueError, match=r"\(64, 64, 256\)"):
        cache.put("a", np.zeros((64, 64, 256), np.float16))


def test_the_least_recently_used_goes_first(tmp_path):
    with EmbeddingCache(tmp_path, 3 * EMBEDDING_BYTES) as cache:
        for key in "abc":
            cache.put(key, constant(0))
        cache.get("a")
        cache.put("d", constant(0))
        assert cache.contains(list("abcd")) == [True, False, True, True]
        assert cache.stats()["entries"] == 3


def test_the_order_of_use_survives_closing(tmp_path):
    with EmbeddingCache(tmp_path, 2 * EMBEDDING_BYTES) as cache:
        cache.put("a", constant(0))
        cache.put("b", constant(0))
        cache.get("a")
    with EmbeddingCache(tmp_path, 2 * EMBEDDING_BYTES) as cache:
        cache.put("c", constant(0))
        assert cache.contains(list("abc")) == [True, False, True]


def test_after_the_clock_stepped_back_the_newest_entries_stay(tmp_path, monkeypatch):
    now = 2_000_000_000_000_000_000
    monkeypatch.setattr("fewsam.encoders.cache.time.time_ns", lambda: now)
    with EmbeddingCache(tmp_path, 3 * EMBEDDING_BYTES) as cache:
        for key in ("a", "b", "c"):
            now += 1000
            cache.put(key, constant(1))
        now -= 86_400_000_000_000
        for key in ("d", "e"):
            now += 1000
            cache.put(key, constant(2))
        assert cache.contains(["a", "b", "c", "d", "e"]) == [False, False, True, True, True]


def test_a_cache_of_an_earlier_version_has_no_order_and_gets_one(tmp_path):
    with EmbeddingCache(tmp_path, 3 * EMBEDDING_BYTES) as cache:
        for key in "cab":
            cache.put(key, constant(0))
        env = cache._opened()
        env.write(lambda txn: txn.drop(env.tables["order"], delete=False))
        cache.put("d", constant(0))
        assert cache.contains(list("cabd")) == [False, True, True, True]
        env.write(lambda txn: txn.delete(b"a", db=env.tables["used"]) and txn.delete(b"a", db=env.tables["data"]))
        env.write(lambda txn: txn.put(b"x" * 9, b"", db=env.tables["order"]))  # as many places as entries, but others
        cache.put("e", constant(0))
        cache.put("f", constant(0))
        assert cache.contains(list("abdef")) == [False, False, True, True, True]


def test_a_full_cache_evicts_a_few_at_once_however_large_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "EMBEDDING_SHAPE", (1, 1, 2))
    monkeypatch.setattr(cache_module, "EMBEDDING_BYTES", 4)
    looked = []
    with EmbeddingCache(tmp_path, 4 * 4000) as cache:
        env, small = cache._opened(), np.zeros((1, 1, 2), np.float16)
        keys = [f"{n:04d}" for n in range(4000)]
        env.write(lambda txn: [note_use(txn, env.tables, key.encode(), n) for n, key in enumerate(keys)])
        env.write(lambda txn: [txn.put(key.encode(), b"", db=env.tables["data"]) for key in keys])
        real = cache_order._oldest_first
        monkeypatch.setattr(
            cache_order, "_oldest_first", lambda *given: (looked.append(one) or one for one in real(*given))
        )
        cache.put("new", small)
        assert looked == [place for place in looked if int(place[8:]) <= 64] and len(looked) == 65
        assert cache.stats()["entries"] == 4000 - 64
        assert cache.contains(["0064", "0065", "new"]) == [False, True, True]


def test_random_use_agrees_with_a_simple_model(tmp_path):
    rng, capacity = random.Random(0), 4
    model: dict[str, int] = {}  # in the order of use
    with EmbeddingCache(tmp_path, capacity * EMBEDDING_BYTES) as cache:
        for step in range(300):
            key = rng.choice("abcdefgh")
            if rng.random() < 0.5:
                model.pop(key, None)
                model[key] = step
                cache.put(key, constant(step))
                if len(model) > capacity:
                    del model[next(iter(model))]
            else:
                value = cache.get(key)
                assert (None if value is None else int(value[0, 0, 0])) == model.get(key)
                if key in model:
                    model[key] = model.pop(key)
        assert {key for key in "abcdefgh" if cache.contains([key])[0]} == set(model)


def test_pinned_entries_stay_and_those_let_go_are_evicted_again(tmp_path, caplog):
    with EmbeddingCache(tmp_path, 3 * EMBEDDING_BYTES) as cache:
        cache.pin(["a", "b"])  # before they are there
        cache.pin(["b"])
        for key in "abcdef":
            cache.put(key, constant(0))
        assert cache.contains(list("abcdef")) == [True, True, False, False, False, True]
        assert cache.stats()["pinned"] == 2
        assert "more than its bound" not in caplog.text
        cache.pin_only(["b"])
        cache.put("g", constant(0))
        cache.put("h", constant(0))
        assert cache.contains(list("abgh")) == [False, True, True, True]


def test_the_use_of_an_entry_that_another_process_evicted_is_forgotten(tmp_path):
    with EmbeddingCache(tmp_path, 3 * EMBEDDING_BYTES) as mine, EmbeddingCache(tmp_path, 3 * EMBEDDING_BYTES) as other:
        mine.put("a", constant(0))
        assert mine.get("a") is not None  # remembered, and written with the next change
        for key in "bcd":
            other.put(key, constant(0))
        assert other.contains(["a"]) == [False]
        mine.put("e", constant(0))
        assert mine.stats()["entries"] == 3 and mine.contains(list("abcde")) == [False, False, True, True, True]


def test_more_pins_than_the_bound_are_kept_and_told_once(tmp_path, caplog):
    with EmbeddingCache(tmp_path, 2 * EMBEDDING_BYTES) as cache:
        keys = [f"p{n}" for n in range(40)]  # also more than the first memory map takes
        cache.pin(keys)
        for key in keys:
            cache.put(key, constant(1))
        cache.put("new", constant(2))
        assert all(cache.contains([*keys, "new"]))
        assert caplog.text.count("more than its bound") == 1
        cache.put("newer", constant(3))
        assert cache.contains(["new", "newer"]) == [False, True]


def test_letting_go_brings_a_cache_above_its_bound_back_at_once(tmp_path):
    with EmbeddingCache(tmp_path, 2 * EMBEDDING_BYTES) as cache:
        cache.pin("abcde")
        for key in "abcde":
            cache.put(key, constant(0))
        assert cache.stats()["entries"] == 5
        cache.pin_only(["d"])
        assert cache.stats()["bytes"] <= cache.stats()["max_bytes"]
        assert cache.contains(list("abcde")) == [False, False, False, True, True]


def test_each_holder_lets_go_of_its_own_pins_alone(tmp_path):
    with EmbeddingCache(tmp_path, 2 * EMBEDDING_BYTES) as cache:
        cache.pin_only(["a", "b"])
        cache.pin_only(["b", "c"], TRAINING)
        for key in "abc":
            cache.put(key, constant(0))
        assert cache.stats()["pinned"] == 3
        cache.pin_only([])
        cache.put("d", constant(0))
        assert cache.contains(list("abcd")) == [False, True, True, True]
        assert cache.stats()["pinned"] == 2
        cache.pin_only([], TRAINING)
        cache.put("e", constant(0))
        assert (cache.stats()["pinned"], cache.stats()["entries"]) == (0, 2)


def test_what_another_process_owns_is_only_read(tmp_path):
    with EmbeddingCache(tmp_path, 2 * EMBEDDING_BYTES) as owner:
        for n, key in enumerate("ab"):
            owner.put(key, constant(n))
        with EmbeddingCache(tmp_path, BIG, read_only=True) as reader:
            assert np.array_equal(reader.get("a"), constant(0)) and reader.get("c") is None
            with pytest.raises(StorageError, match="only read"):
                reader.put("c", constant(2))
        owner.put("c", constant(2))
        assert owner.contains(list("abc")) == [False, True, True], "being read there was no use"


def test_the_file_stays_near_its_bound(tmp_path):
    with EmbeddingCache(tmp_path, 10 * EMBEDDING_BYTES) as cache:
        for n in range(200):
            cache.put(str(n), constant(n))
            cache.get(str(n - n % 3))
    assert (tmp_path / "data.mdb").stat().st_size < 16 * EMBEDDING_BYTES


def test_a_damaged_entry_is_a_miss_and_the_others_stay(tmp_path, caplog):
    content = bytearray(filled(tmp_path))
    payload = embedding(2).tobytes()
    at = content.index(payload[1000:2000])
    content[at] ^= 1
    (tmp_path / "data.mdb").write_bytes(content)
    with EmbeddingCache(tmp_path, BIG) as cache:
        assert cache.contains(["2"]) == [True], "to read all entries, to see which are whole, takes too long"
        assert cache.get("2") is None
        assert cache.contains(["2", "3"]) == [False, True]  # so that it is computed again
        assert np.array_equal(cache.get("3"), embedding(3))
        cache.put("2", embedding(2))
        assert np.array_equal(cache.get("2"), embedding(2))
    assert "damaged" in caplog.text and "set aside" not in caplog.text


# -- the key


def test_the_key_tells_pixels_preprocessing_and_encoder(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8)
    key = embedding_key(pixels, "encoder")
    assert key == embedding_key(np.asfortranarray(pixels), "encoder")
    other = pixels.copy()
    other[2, 31, 31] ^= 1
    assert embedding_key(other, "encoder") != key
    assert embedding_key(pixels, "another") != key
    assert embedding_key(pixels.reshape(3, 16, 64), "encoder") != key
    monkeypatch.setattr(cache_module, "PREPROCESS_VERSION", cache_module.PREPROCESS_VERSION + 1)
    assert embedding_key(pixels, "encoder") != key


@pytest.mark.parametrize("wrong", [np.zeros((3, 8, 8), np.float32), np.zeros((8, 8), np.uint8)])
def test_the_key_wants_preprocessed_slices(wrong):
    with pytest.raises(ValueError, match="uint8 slice"):
        embedding_key(wrong, "encoder")
