"""Encoders: one contract for all, weights from every source they come in, and what is said of them."""

import fewsam  # noqa: F401  first, so that segment_anything can import torchvision

# isort: split
import contextlib
import hashlib
import http.server
import json
import logging
import os
import pickle
import socket
import threading
import zipfile
from functools import partial

import pytest
import segment_anything
import torch
from safetensors.torch import save_file
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch.utils.flop_counter import FlopCounterMode

from fewsam import encoders
from fewsam.config import load_settings
from fewsam.encoders import compact, registry, sam, untrained
from fewsam.encoders.download import download, file_sha256
from fewsam.errors import CheckpointError, StorageError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty download folder."""
    folder = tmp_path / "home"
    monkeypatch.setenv("FEWSAM_HOME", str(folder))
    monkeypatch.setattr("fewsam.encoders.download._memo", {})
    return folder


@pytest.fixture
def no_networks(monkeypatch):
    """Building any network fails."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network was built")

    monkeypatch.setattr(compact.CompactEncoder, "__init__", refuse)
    for name in sam.OFFICIAL:
        monkeypatch.setitem(segment_anything.sam_model_registry, name, refuse)


def slices(count: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def settings(**values):
    return load_settings(overrides=values)


# -- the compact encoder


@pytest.fixture(scope="module")
def compact_encoder():
    return encoders.build_encoder(settings(untrained=True))


@pytest.mark.parametrize("size", [64, 128, 256, 400])
def test_compact_gives_sams_grid_at_every_input_size(size):
    encoder = encoders.build_encoder(settings(input_size=size))
    embeddings = encoder.embed(slices(1, size))
    assert embeddings.shape == (1, 256, 64, 64) and embeddings.dtype == torch.float32
    assert torch.isfinite(embeddings).all() and not embeddings.requires_grad
    assert embeddings.std() > 0.5


def test_compact_does_not_depend_on_the_rest_of_the_batch(compact_encoder):
    batch = slices(3, 256)
    batch[2] = 0
    together = compact_encoder.embed(batch)
    for index in range(3):
        alone = compact_encoder.embed(batch[index : index + 1])
        assert torch.allclose(together[index : index + 1], alone, atol=1e-3)
    assert not torch.allclose(together[0], together[1], atol=0.1)


def test_untrained_compact_is_the_same_each_time_and_leaves_the_global_seed_alone(compact_encoder):
    torch.manual_seed(1)
    again = encoders.build_encoder(settings(untrained=True))
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1))
    assert torch.equal(again.embed(slices(1, 256)), compact_encoder.embed(slices(1, 256)))


def test_untrained_compact_spreads_information_over_its_channels(compact_encoder):
    images = untrained.generated_slices(3, torch.Generator().manual_seed(99)).to(torch.uint8)
    values = compact_encoder.embed(images).permute(1, 0, 2, 3).flatten(1)
    correlations = torch.corrcoef(values) - torch.eye(256)
    assert correlations.abs().mean() < 0.15


def test_place_changes_what_looks_alike(compact_encoder):
    flat = torch.full((1, 3, 256, 256), 100, dtype=torch.uint8)
    cells = torch.nn.functional.normalize(compact_encoder.embed(flat)[0], dim=0)
    assert (cells[:, 20, 20] * cells[:, 44, 44]).sum() < 0.8
    assert (cells[:, 20, 20] * cells[:, 20, 21]).sum() > 0.8


@pytest.mark.parametrize("fusion", [False, True])
def test_compact_stays_within_its_budget(fusion):
    network = compact.CompactEncoder(fusion)
    assert sum(parameter.numel() for parameter in network.parameters()) == compact.PARAMETERS[fusion] < 8e6  # 16 MB
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, compact.INPUT_SIZE, compact.INPUT_SIZE))
    assert counter.get_total_flops() <= 8e9


def test_untrained_compact_says_so(caplog):
    with caplog.at_level(logging.WARNING):
        encoder = encoders.build_encoder(settings(untrained=True))
    assert "UNTRAINED" in caplog.text
    assert not encoder.info.trained and encoder.info.checkpoint_sha256 is None
    assert encoder.info.parameters == compact.PARAMETERS[False]


def test_weights_in_the_package_are_used_unless_untrained_ones_are_asked_for(tmp_path, monkeypatch, caplog):
    packaged = tmp_path / "compact.safetensors"
    save_file(compact.CompactEncoder(fusion=True).state_dict(), packaged)
    monkeypatch.setattr(compact, "PACKAGED", packaged)
    info = encoders.build_encoder(settings()).info
    assert "UNTRAINED" not in caplog.text
    assert info.trained and info.licence == "Apache-2.0" and info.parameters == compact.PARAMETERS[True]
    assert info.checkpoint_sha256 == file_sha256(packaged)
    baseline = encoders.encoder_info(settings(untrained=True))
    assert not baseline.trained and baseline.fingerprint != info.fingerprint
    with pytest.raises(CheckpointError, match="leave out one of the two"):
        encoders.encoder_info(settings(untrained=True, checkpoint=str(packaged)))


def test_compact_weights_from_a_file(tmp_path, caplog):
    network = compact.CompactEncoder()
    path = tmp_path / "trained.safetensors"
    save_file(network.state_dict(), path)
    chosen = settings(checkpoint=str(path))
    with caplog.at_level(logging.WARNING):
        encoder = encoders.build_encoder(chosen)
    assert "UNTRAINED" not in caplog.text
    assert encoder.info.trained and encoder.info.checkpoint_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert encoder.info.fingerprint != encoders.encoder_info(settings()).fingerprint
    with torch.no_grad():
        assert torch.equal(encoder.embed(slices(1, 256)), network(slices(1, 256).float()))


@pytest.mark.parametrize("content", ["text", "other tensors", "truncated"])
def test_wrong_compact_weights_are_refused(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    save_file({"norm.weight": torch.ones(3)} if content == "other tensors" else {"a": torch.ones(99)}, path)
    if content == "text":
        path.write_text("no weights")
    elif content == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        encoders.build_encoder(settings(checkpoint=str(path)))


# -- what is said of an encoder


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


def test_the_hash_of_a_file_is_remembered_until_it_changes(tmp_path, home, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"one")
    first = file_sha256(path)
    assert first == hashlib.sha256(b"one").hexdigest()
    monkeypatch.setattr("fewsam.encoders.download._memo", {})  # another process
    memo = json.loads((home / "hashes.json").read_text())
    memo[str(path)][2] = "remembered"
    (home / "hashes.json").write_text(json.dumps(memo))
    assert file_sha256(path) == "remembered"
    path.write_bytes(b"three")
    assert file_sha256(path) == hashlib.sha256(b"three").hexdigest()


@pytest.mark.parametrize("content", ["", "[]", '{"x": 1}'])
def test_hashes_need_no_good_memory(tmp_path, home, content):
    home.mkdir()
    (home / "hashes.json").write_text(content)
    path = tmp_path / "weights.pth"
    path.write_bytes(b"one")
    assert file_sha256(path) == hashlib.sha256(b"one").hexdigest()


def test_hashes_work_where_the_home_is_not_writable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FEWSAM_HOME", str(tmp_path / "file"))
    path = tmp_path / "weights.pth"
    path.write_bytes(b"one")
    assert file_sha256(path) == file_sha256(path) == hashlib.sha256(b"one").hexdigest()


def test_an_encoder_refuses_what_is_not_preprocessed(compact_encoder):
    with pytest.raises(ValueError, match="uint8"):
        compact_encoder.embed(torch.zeros(1, 3, 256, 256))
    with pytest.raises(ValueError, match="256"):
        compact_encoder.embed(slices(1, 128))


# -- SAM: a small one of the same classes stands for ViT-B


def tiny_sam(depth: int = 2, width: int = 32) -> Sam:
    vit = ImageEncoderViT(
        depth=depth,
        embed_dim=width,
        img_size=256,
        mlp_ratio=4,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        num_heads=2,
        patch_size=16,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=[1],
        window_size=7,
        out_chans=256,
    )
    prompt = PromptEncoder(embed_dim=256, image_embedding_size=(16, 16), input_image_size=(256, 256), mask_in_chans=16)
    decoder = MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(depth=1, embedding_dim=256, mlp_dim=64, num_heads=2),
        transformer_dim=256,
    )
    return Sam(vit, prompt, decoder, [123.675, 116.28, 103.53], [58.395, 57.12, 57.375])


@pytest.fixture
def tiny(monkeypatch):
    """A tiny SAM with random weights, registered as vit_b."""
    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_b", tiny_sam)
    torch.manual_seed(0)
    model = tiny_sam().eval()
    for name, parameter in model.named_parameters():
        if "pos" in name:  # zero at the start, so that a mistake with it would not show
            torch.nn.init.normal_(parameter)
    return model


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


@pytest.mark.parametrize("name", list(sam.OFFICIAL))
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


# -- downloads, from a server of our own

CONTENT = bytes(range(256)) * 20_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT with ranges; ``server.stop_after`` bytes it breaks off, once."""

    def do_GET(self) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.server.asked.append(start)
        if self.path != "/sam.pth":
            return self.send_error(404)
        if start >= len(CONTENT):
            return self.send_error(416)
        if start and not self.server.ranges:
            start = 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        end, self.server.stop_after = self.server.stop_after, None
        return self.wfile.write(CONTENT[start:end])

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked, running.stop_after, running.ranges = [], None, True
        running.url = f"http://127.0.0.1:{running.server_address[1]}/sam.pth"
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_download_arrives_whole_with_progress(tmp_path, server):
    told = []
    path = download(server.url, tmp_path / "new" / "sam.pth", DIGEST, lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["sam.pth"]
    assert told[-1] == (len(CONTENT), len(CONTENT)) and told == sorted(told) and len(told) > 2
    download(server.url, path, DIGEST)
    assert server.asked == [0]  # once is enough


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_resumes(tmp_path, server, ranges):
    server.stop_after, server.ranges, path = 1_000_000, ranges, tmp_path / "sam.pth"
    with pytest.raises(CheckpointError, match="1000000 of 5120000"):
        download(server.url, path, DIGEST)
    assert not path.exists() and (tmp_path / "sam.pth.part").stat().st_size == 1_000_000
    assert download(server.url, path, DIGEST).read_bytes() == CONTENT
    assert server.asked == [0, 1_000_000]


def test_a_download_that_was_complete_but_not_renamed_is_used(tmp_path, server):
    (tmp_path / "sam.pth.part").write_bytes(CONTENT)
    assert download(server.url, tmp_path / "sam.pth", DIGEST).read_bytes() == CONTENT


def test_a_wrong_file_is_refused_and_deleted(tmp_path, server):
    with pytest.raises(CheckpointError, match=f"SHA-256 {DIGEST}, expected 00ff"):
        download(server.url, tmp_path / "sam.pth", "00ff")
    assert list(tmp_path.glob("sam*")) == []


def test_an_unreachable_server_says_what_to_do(tmp_path, home, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        monkeypatch.setattr(sam, "_URL", f"http://127.0.0.1:{taken.getsockname()[1]}/")
        with pytest.raises(CheckpointError, match="by hand") as caught:
            encoders.build_encoder(settings(encoder="vit_b"))
    assert str(home / "sam_vit_b_01ec64.pth") in str(caught.value) and "sam_vit_b_01ec64.pth: " in str(caught.value)


def test_a_missing_page_says_its_number(tmp_path, server):
    with pytest.raises(CheckpointError, match="404|Not Found"):
        download(server.url + "x", tmp_path / "sam.pth", DIGEST)


def test_no_download_where_it_is_off(server, monkeypatch):
    monkeypatch.setattr(sam, "_URL", server.url.removesuffix("sam.pth"))
    with pytest.raises(CheckpointError, match="downloads are off"):
        encoders.build_encoder(settings(encoder="vit_b", download=False))
    assert server.asked == []


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path, server):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="FEWSAM_HOME"):
        download(server.url, tmp_path / "file" / "sam.pth", DIGEST)


def test_a_downloaded_checkpoint_is_used_from_then_on(tiny, home, server, monkeypatch):
    path = home / "source.pth"
    home.mkdir()
    torch.save(tiny.state_dict(), path)
    official = sam.SAMCheckpoint("sam.pth", hashlib.sha256(path.read_bytes()).hexdigest(), 1)
    monkeypatch.setitem(sam.OFFICIAL, "vit_b", official)
    monkeypatch.setattr(sam, "_URL", server.url.removesuffix("sam.pth"))
    monkeypatch.setitem(globals(), "CONTENT", path.read_bytes())
    chosen = settings(encoder="vit_b", input_size=256)
    before = encoders.encoder_info(chosen)
    told = []
    encoder = encoders.build_encoder(chosen, progress=lambda done, total: told.append(total))
    assert told and encoder.info == before == encoders.encoder_info(chosen)
    encoders.build_encoder(chosen)
    assert server.asked == [0]
    assert registry.sam_decoder_state(chosen) is not None
