"""What is said of an encoder, and what a setting gives of its checkpoint, without building it."""

import json

import pytest
import segment_anything
import torch

from fewsam import encoders
from fewsam.encoders import compact, sam
from helpers.tiny_encoders import settings

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def no_networks(monkeypatch):
    """Building any network fails."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network was built")

    monkeypatch.setattr(compact.CompactEncoder, "__init__", refuse)
    for name in sam.OFFICIAL:
        monkeypatch.setitem(segment_anything.sam_model_registry, name, refuse)


def test_info_is_json_and_builds_nothing(no_networks):
    for name in ("compact", "vit_b", "vit_l", "vit_h"):
        info = encoders.encoder_info(settings(encoder=name))
        assert json.loads(json.dumps(info.as_dict()))["name"] == name
        assert len(bytes.fromhex(info.fingerprint)) == 32
    assert info.input_size == 1024 and info.licence == "Apache-2.0" and info.checkpoint_sha256.startswith("a7bf3b02")


def test_the_fingerprint_tells_encoder_size_and_weights(tmp_path, monkeypatch):
    one, two = tmp_path / "one.pth", tmp_path / "two.pth"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    given = [
        {},
        {"input_size": 128},
        {"encoder": "vit_b"},
        {"encoder": "vit_b", "input_size": 512},
        {"encoder": "vit_l"},
        {"encoder": "vit_b", "checkpoint": str(one)},
        {"encoder": "vit_b", "checkpoint": str(two)},
    ]
    fingerprints = [encoders.encoder_info(settings(**values)).fingerprint for values in given]
    assert len(set(fingerprints)) == len(given)
    assert fingerprints[0] == encoders.encoder_info(settings(window="bone", input_size=256)).fingerprint
    two.write_bytes(b"1 ")
    two.write_bytes(b"1")
    assert encoders.encoder_info(settings(**given[-1])).fingerprint == fingerprints[-2]
    monkeypatch.setattr(compact, "ARCHITECTURE", 999)
    assert encoders.encoder_info(settings()).fingerprint != fingerprints[0]


def test_the_decoder_part_comes_without_an_encoder(tmp_path, tiny, no_networks):
    path = tmp_path / "sam.pth"
    torch.save(tiny.state_dict(), path)
    state = encoders.sam_decoder_state(settings(encoder="vit_b", checkpoint=str(path)))
    expected = {key: value for key, value in tiny.state_dict().items() if not key.startswith("image_encoder.")}
    expected = {key: value for key, value in expected.items() if not key.startswith("pixel_")}
    assert set(state) == set(expected)
    assert all(torch.equal(state[key], value) for key, value in expected.items())
    path.unlink()  # they do not hang on the file
    assert sum(value.double().sum() for value in state.values()) != 0


def test_no_decoder_part_where_there_is_none(tmp_path, tiny):
    assert encoders.sam_decoder_state(settings()) is None
    assert encoders.sam_decoder_state(settings(encoder="vit_b")) is None  # not downloaded, and not for this
    path = tmp_path / "encoder.pth"
    torch.save({k: v for k, v in tiny.state_dict().items() if k.startswith("image_encoder.")}, path)
    assert encoders.sam_decoder_state(settings(encoder="vit_b", checkpoint=str(path))) is None
