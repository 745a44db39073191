"""Publishing and loading decoders: whole or not at all."""

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fewsam.core.errors import CheckpointError, StorageError
from fewsam.fewshot.model.card import FORMAT, ModelCard
from fewsam.fewshot.model.store import KEPT_VERSIONS, ModelStore, build_decoder, write_atomically
from helpers.killed_children import killed

SWITCHES = {"stride": 4, "use_detail": False}
CARD = ModelCard(("liver",), ("liver",), "abc", 64, SWITCHES, shots=(1, 2), metric=0.5)


def state(value: float = 0.0) -> dict[str, torch.Tensor]:
    decoder = build_decoder(SWITCHES)
    torch.nn.init.constant_(decoder.token_proj.bias, value)
    return decoder.state_dict()


def test_nothing_trained_yet(tmp_path):
    store = ModelStore(tmp_path)
    assert store.version() == 0
    assert store.load() is None
    assert store.info() == {"version": 0, "trained": False}


def test_published_versions_are_served_and_old_ones_go(tmp_path):
    store = ModelStore(tmp_path)
    for number in range(1, KEPT_VERSIONS + 3):
        assert store.publish(state(number), CARD) == number
    model = ModelStore(tmp_path).load()
    assert model is not None and model.version == KEPT_VERSIONS + 2
    assert model.decoder.token_proj.bias[0].item() == KEPT_VERSIONS + 2
    assert model.card == CARD
    assert len(list((tmp_path / "versions").iterdir())) == KEPT_VERSIONS


@pytest.mark.parametrize("undertrained", [0.25, 7.0])
def test_a_decoder_saved_under_the_keys_of_before_is_read(tmp_path, undertrained):
    store = ModelStore(tmp_path)
    store.publish(state(3), replace(CARD, class_ids=("spleen", "liver"), undertrained=undertrained))
    (path,) = (tmp_path / "versions").iterdir()
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    card = json.loads(metadata["card"])
    card["newness"], card["slots"] = card.pop("undertrained"), card.pop("class_ids")
    save_file(load_file(path), path, {**metadata, "card": json.dumps(card)})
    model = store.load()
    assert model is not None and model.decoder.token_proj.bias[0].item() == 3
    assert model.card.class_ids == ("spleen", "liver")
    assert model.card.undertrained == min(1.0, undertrained)
    assert store.info()["undertrained"] == min(1.0, undertrained)


def test_a_damaged_version_falls_back_to_the_one_before_and_says_so(tmp_path):
    store = ModelStore(tmp_path)
    store.publish(state(1), CARD)
    store.publish(state(2), CARD)
    newest = sorted((tmp_path / "versions").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    model = store.load()
    assert model is not None and model.version == 1 and "version 2" in model.notes[0]


def test_when_nothing_can_be_read_the_way_out_is_named(tmp_path):
    store = ModelStore(tmp_path)
    store.publish(state(), CARD)
    next((tmp_path / "versions").iterdir()).write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="train again"):
        store.load()
    assert "untrained" in store.repair()[-1]
    assert (store.version(), store.load(), store.publish(state(), CARD)) == (0, None, 2)


def test_a_flipped_bit_in_the_weights_is_found(tmp_path):
    store = ModelStore(tmp_path)
    store.publish(state(1), CARD)
    store.publish(state(2), CARD)
    newest = sorted((tmp_path / "versions").iterdir())[-1]
    body = bytearray(newest.read_bytes())
    body[-5] ^= 0x10  # safetensors itself reads this without complaint
    newest.write_bytes(body)
    model = store.load()
    assert model is not None and model.version == 1 and "version 2" in model.notes[0]


def test_a_repair_points_to_the_newest_whole_version_and_keeps_the_damaged_one(tmp_path):
    store = ModelStore(tmp_path)
    assert store.repair() == []
    for number in (1, 2, 3):
        store.publish(state(number), CARD)
    assert store.repair() == []
    newest = sorted((tmp_path / "versions").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    notices = store.repair()
    assert "model 3 was damaged" in notices[0] and notices[-1] == "serving model 2"
    assert store.version() == 2 and store.load().notes == []
    assert newest.with_name(f"{newest.name}.damaged").exists()
    assert store.publish(state(4), CARD) == 4, "a number is given once"


def later_format(path):
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    metadata["card"] = json.dumps({**json.loads(metadata["card"]), "format": FORMAT + 1})
    save_file(load_file(path), path, metadata)


def later_switch(path):
    """Of a decoder that this version cannot build: its weights are whole."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    metadata["card"] = json.dumps({**json.loads(metadata["card"]), "switches": {"use_wings": 1}})
    save_file(load_file(path), path, metadata)


def unreadable(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("trouble", [later_format, later_switch, unreadable])
def test_a_repair_leaves_alone_what_is_not_proved_to_be_damaged(tmp_path, trouble):
    store = ModelStore(tmp_path)
    store.publish(state(1), CARD)
    store.publish(state(2), CARD)
    trouble(tmp_path / "versions" / "decoder-00002.safetensors")
    notices = store.repair()
    assert len(notices) == 1 and "model 2 cannot be read now, and is left as it is" in notices[0]
    assert sorted(path.name for path in (tmp_path / "versions").iterdir()) == [
        "decoder-00001.safetensors",
        "decoder-00002.safetensors",
    ]
    assert store.version() == 2, "it is served again as soon as it can be read"
    assert store.load().version == 1


def test_a_repair_leaves_the_pointer_while_the_versions_cannot_be_listed(tmp_path):
    store = ModelStore(tmp_path)
    store.publish(state(), CARD)
    (tmp_path / "versions").rename(tmp_path / "away")
    (tmp_path / "versions").write_text("a file in the way")
    assert "versions cannot be read now" in store.repair()[0]
    assert store.version() == 1


@pytest.mark.parametrize("content", ["{", '{"version": "x"}', '{"version": null}', "7", ""])
def test_a_damaged_pointer_serves_the_newest_version(tmp_path, content):
    store = ModelStore(tmp_path)
    store.publish(state(1), CARD)
    store.publish(state(2), CARD)
    (tmp_path / "current.json").write_text(content)
    assert store.version() == 2
    assert store.repair() == ["current.json was damaged", "serving model 2"]
    assert json.loads((tmp_path / "current.json").read_text()) == {"version": 2}


def test_a_pointer_that_cannot_be_read_serves_the_newest_version_and_stays(tmp_path, caplog):
    store = ModelStore(tmp_path)
    store.publish(state(1), CARD)
    store.publish(state(2), CARD)
    unreadable(tmp_path / "current.json")
    assert store.version() == 2 and store.load().version == 2 and store.info()["version"] == 2
    assert "cannot be read now" in caplog.text
    assert "left as it is" in store.repair()[0] and (tmp_path / "current.json").is_dir()


def test_a_full_disk_while_publishing_leaves_no_orphan(tmp_path, monkeypatch):
    store = ModelStore(tmp_path)
    store.publish(state(1), CARD)
    real = os.replace

    def full(source, target):
        if Path(target).name == "current.json":
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="disk is full"):
        store.publish(state(2), CARD)
    assert store.version() == 1
    assert len(list((tmp_path / "versions").iterdir())) == 1


def test_a_foreign_file_is_refused(tmp_path):
    store = ModelStore(tmp_path)
    store.publish(state(), CARD)
    save_file({"x": torch.zeros(1)}, next((tmp_path / "versions").iterdir()))
    with pytest.raises(CheckpointError):
        store.load()


def test_an_unwritable_place_is_a_storage_error(tmp_path):
    (tmp_path / "versions").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="versions"):
        ModelStore(tmp_path).publish(state(), CARD)


def test_a_write_that_fails_leaves_the_old_content(tmp_path, monkeypatch):
    target = tmp_path / "file"
    write_atomically(target, b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


PUBLISHER = """
import os, sys
from pathlib import Path
from fewsam.fewshot.model.card import ModelCard
from fewsam.fewshot.model.store import ModelStore, build_decoder
switches = {"stride": 4, "use_detail": False}
state = build_decoder(switches).state_dict()

def work(_):
    store = ModelStore(Path(sys.argv[1]))
    while True:
        os.write(1, b"%d\\n" % store.publish(state, ModelCard(("liver",), ("liver",), "abc", 64, switches)))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked children")
def test_killed_while_publishing_the_served_model_is_whole(tmp_path):
    acknowledged, rng = 0, np.random.default_rng(0)
    # Without an end, and longer and longer: a busy machine publishes slowly.
    delays = (float(rng.uniform(0.1, 0.4)) * 1.2**kills for kills in itertools.count())
    for number, lines in enumerate(killed(PUBLISHER, [str(tmp_path)], delays), 1):
        acknowledged = max([acknowledged, *map(int, lines)])
        model = ModelStore(tmp_path).load()
        if model is None:  # killed before the first version was there
            assert acknowledged == 0
            continue
        assert not model.notes and model.version >= acknowledged
        assert json.loads((tmp_path / "current.json").read_text())["version"] == model.version
        if number >= 6 and acknowledged >= 6:
            break
