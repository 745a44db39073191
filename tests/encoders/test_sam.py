"""SAM's encoders: checkpoints of every form compute what segment-anything does, and bad or hostile ones are refused.

A small SAM of the same classes stands for ViT-B.
"""

import contextlib
import os
import pickle
import zipfile

import pytest
import segment_anything
import torch
from safetensors.torch import save_file

from fewsam import encoders
from fewsam.core.errors import CheckpointError
from fewsam.encoders import sam
from fewsam.encoders.download import file_sha256
from helpers.tiny_encoders import settings, slices, tiny_sam

pytestmark = pytest.mark.usefixtures("home")


def test_a_sam_encoder_computes_what_segment_anything_does(tmp_path, tiny):
    path = tmp_path / "sam.pth"
    torch.save(tiny.state_dict(), path)
    encoder = encoders.build_encoder(settings(encoder="vit_b", checkpoint=str(path), input_size=256))
    batch = slices(2, 256)
    with torch.no_grad():
        expected = tiny.image_encoder(tiny.preprocess(batch.float()))  # (2, 256, 16, 16)
        expected = torch.nn.functional.interpolate(expected, (64, 64), mode="bilinear")
    assert torch.allclose(encoder.embed(batch), expected, atol=1e-5)
    assert encoder.info.checkpoint_sha256 == file_sha256(path) and encoder.info.licence.startswith("unknown")


def test_a_sam_encoder_at_a_smaller_input_interpolates_its_positions(tmp_path, tiny):
    path = tmp_path / "sam.pth"
    torch.save(tiny.state_dict(), path)
    encoder = encoders.build_encoder(settings(encoder="vit_b", checkpoint=str(path), input_size=128))
    embeddings = encoder.embed(slices(1, 128))
    assert embeddings.shape == (1, 256, 64, 64) and torch.isfinite(embeddings).all()
    position = tiny.image_encoder.pos_embed.detach().permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(position, (8, 8), mode="bicubic", align_corners=False)
    assert torch.allclose(encoder._network.vit.pos_embed.permute(0, 3, 1, 2), expected, atol=1e-5)


@pytest.mark.parametrize("form", ["wrapped", "module", "lightning", "half", "old format", "safetensors"])
def test_sam_checkpoints_come_in_many_forms(tmp_path, tiny, form):
    state, path = tiny.state_dict(), tmp_path / "sam.pth"
    if form == "wrapped":
        torch.save({"model": state, "optimizer": {"lr": 1.0}, "epoch": 3}, path)
    elif form == "module":
        torch.save({"module." + key: value for key, value in state.items()}, path)
    elif form == "lightning":
        torch.save({"state_dict": {"sam.model." + key: value for key, value in state.items()}}, path)
    elif form == "half":
        torch.save({key: value.half() for key, value in state.items()}, path)
    elif form == "old format":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        path = tmp_path / "sam.safetensors"
        save_file(state, path)
    chosen = settings(encoder="vit_b", checkpoint=str(path), input_size=256)
    plain = tmp_path / "plain.pth"
    torch.save(state, plain)
    expected = encoders.build_encoder(settings(encoder="vit_b", checkpoint=str(plain), input_size=256))
    tolerance = 0.05 if form == "half" else 0
    batch = slices(1, 256)
    assert torch.allclose(encoders.build_encoder(chosen).embed(batch), expected.embed(batch), atol=tolerance)
    same = settings(encoder="vit_b", checkpoint=str(plain))
    assert set(encoders.sam_decoder_state(chosen)) == set(encoders.sam_decoder_state(same))


class Payload:
    """Not a tensor."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("missing", "cannot read|no checkpoint"),
        ("text", "damaged"),
        ("truncated", "damaged"),
        ("object", "more than tensors"),
        ("other tensors", "no SAM weights"),
        ("list", "no SAM weights"),
        ("one missing", "lacks 'blocks.1.norm1.weight'"),
        ("one extra", "adds 'adapter'"),
        ("other width", "resizes"),
        ("no encoder", "no image encoder"),
    ],
)
def test_a_bad_sam_checkpoint_is_refused(tmp_path, tiny, content, message):
    state, path = tiny.state_dict(), tmp_path / "sam.pth"
    if content == "one missing":
        del state["image_encoder.blocks.1.norm1.weight"]
    elif content == "one extra":
        state["image_encoder.adapter"] = torch.ones(1)
    elif content == "other width":
        state = tiny_sam(width=64).state_dict()
    elif content == "no encoder":
        state = {key: value for key, value in state.items() if not key.startswith("image_encoder.")}
    elif content == "object":
        state = {"model": Payload()}
    elif content == "other tensors":
        state = {"weight": torch.ones(3)}
    elif content == "list":
        state = [1, 2]
    torch.save(state, path)
    if content == "missing":
        path.unlink()
    elif content == "text":
        path.write_text("<html>not found</html>")
    elif content == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=message) as caught:
        encoders.build_encoder(settings(encoder="vit_b", checkpoint=str(path)))
    assert "sam.pth" in str(caught.value)


class Planted:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("way", ["plain pickle", "zip", "old torch", "beside tensors", "safetensors", "compact"])
def test_a_pickle_is_never_run(tmp_path, way):
    mark = tmp_path / "ran"
    path = tmp_path / ("sam.safetensors" if way in ("safetensors", "compact") else "sam.pth")
    if way in ("plain pickle", "safetensors", "compact"):
        path.write_bytes(pickle.dumps(Planted(mark)))
    else:
        planted = {"image_encoder.a": torch.ones(1), "extra": Planted(mark)} if "beside" in way else Planted(mark)
        torch.save(planted, path, _use_new_zipfile_serialization=way != "old torch")
    with pytest.raises(CheckpointError, match="sam"):
        encoders.build_encoder(settings(encoder="compact" if way == "compact" else "vit_b", checkpoint=str(path)))
    assert not mark.exists()
    if not path.name.endswith("safetensors"):  # the file does what it is there for where pickles are loaded
        with contextlib.suppress(RuntimeError):  # that it is no checkpoint shows after it ran
            torch.load(path, weights_only=False)
        assert mark.exists()


def test_a_checkpoint_that_would_unfold_is_refused(tmp_path):
    torch.save({"image_encoder.a": torch.zeros(1 << 20)}, tmp_path / "whole.pth")
    with zipfile.ZipFile(tmp_path / "whole.pth") as whole, zipfile.ZipFile(tmp_path / "sam.pth", "w", 8) as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    with pytest.raises(CheckpointError, match="it is compressed"):
        encoders.build_encoder(settings(encoder="vit_b", checkpoint=str(tmp_path / "sam.pth")))


def test_a_checkpoint_of_another_size_says_which(tmp_path):
    path = tmp_path / "sam_vit_b.pth"
    state = {f"image_encoder.blocks.{n}.norm1.weight": torch.zeros(768) for n in range(12)}
    torch.save({**state, "image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}, path)
    with pytest.raises(CheckpointError, match="it is a vit_b; set the encoder to vit_b"):
        encoders.build_encoder(settings(encoder="vit_l", checkpoint=str(path)))


@pytest.mark.parametrize("name", [name for name in sam.OFFICIAL if name.startswith("vit")])
def test_published_sizes_are_those_of_segment_anything(name):
    with torch.device("meta"):
        vit = segment_anything.sam_model_registry[name]().image_encoder
    assert sum(parameter.numel() for parameter in vit.parameters()) == sam.OFFICIAL[name].parameters
    blocks = len(vit.blocks)
    assert sam._SHAPES[vit.pos_embed.shape[-1], blocks] == name


def test_a_real_vit_b_checkpoint_loads_and_encodes(tmp_path):
    path = tmp_path / "sam_vit_b.pth"
    with torch.device("meta"):
        model = segment_anything.sam_model_registry["vit_b"]()
    state = {key: torch.empty_like(value, device="cpu").normal_(0, 0.02) for key, value in model.state_dict().items()}
    torch.save(state, path)
    chosen = settings(encoder="vit_b", checkpoint=str(path), input_size=128)
    embeddings = encoders.build_encoder(chosen).embed(slices(1, 128))
    assert embeddings.shape == (1, 256, 64, 64) and torch.isfinite(embeddings).all() and embeddings.std() > 0
    assert "mask_decoder.mask_tokens.weight" in encoders.sam_decoder_state(chosen)
    path.unlink()
