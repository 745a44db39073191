"""OpenVINO computes what torch does, is converted once, and is left alone where it cannot be used."""

import multiprocessing
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from fewsam import encoders
from fewsam.core.errors import ConfigError
from fewsam.encoders import convert, engine, openvino_engine, tinyvit
from helpers.tiny_encoders import settings, slices

needs_openvino = pytest.mark.skipif(not openvino_engine.is_installed(), reason="OpenVINO is not installed")
pytestmark = pytest.mark.usefixtures("home")
SIZE = 64


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of LiteMedSAM's shapes and random weights."""
    torch.manual_seed(0)
    network = tinyvit.TinyViTEncoder().eval()
    path = tmp_path_factory.mktemp("checkpoint") / "lite_medsam.pth"
    torch.save({f"image_encoder.{key}": value for key, value in network.state_dict().items()}, path)
    return path


def chosen(checkpoint, **more):
    return settings(encoder="medsam_lite", checkpoint=str(checkpoint), input_size=SIZE, **{"engine": "auto", **more})


def assert_alike(found, expected):
    """Nearer than a tenth of what float16 rounds in the cache: for this reason both engines have one fingerprint."""
    torch.testing.assert_close(found, expected, rtol=5e-5, atol=5e-5 * float(expected.abs().mean()))


def in_a_fork(queue, encoder, batch):
    queue.put(encoder.embed(batch).numpy())


@pytest.mark.slow
@needs_openvino
def test_the_converted_encoder_is_torchs_and_is_made_once(checkpoint, monkeypatch):
    wanted = chosen(checkpoint)
    batch = slices(3, SIZE)
    fast = encoders.build_encoder(wanted)
    slow = encoders.build_encoder(chosen(checkpoint, engine="torch"))
    assert isinstance(fast._network, openvino_engine.OpenVINONetwork)
    assert isinstance(slow._network, nn.Module)
    expected = slow.embed(batch)
    assert_alike(fast.embed(batch), expected)
    assert fast.info == slow.info
    assert encoders.describe_engine(wanted, "cpu") == "OpenVINO, float32"

    with monkeypatch.context() as patch:  # neither is called again
        patch.setattr(openvino_engine, "begin_conversion", None)
        patch.setattr("fewsam.encoders.registry.build_network", lambda _: None)
        again = encoders.build_encoder(wanted)
    assert torch.equal(again.embed(batch[:1]), fast.embed(batch[:1]))

    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=in_a_fork, args=(queue, fast, batch[:1]))
    child.start()
    found = torch.from_numpy(queue.get(timeout=120))
    child.join()
    torch.testing.assert_close(found, expected[:1])  # by torch


@needs_openvino
def test_a_damaged_conversion_is_made_again(tmp_path):
    folder = tmp_path / "converted"
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    convert.convert(network, 8, folder)
    assert openvino_engine.is_whole(folder)
    whole = (folder / openvino_engine.WEIGHTS).read_bytes()
    (folder / openvino_engine.WEIGHTS).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1, 0]))
    assert not openvino_engine.is_whole(folder)
    (tmp_path / ".converted-left").mkdir()  # by a conversion that was killed
    convert.convert(network, 8, folder)
    assert openvino_engine.is_whole(folder)
    assert (folder / openvino_engine.WEIGHTS).read_bytes() == whole
    assert not list(tmp_path.glob(".converted-*"))


@needs_openvino
def test_what_cannot_be_converted_runs_on_torch_and_info_says_why(checkpoint, monkeypatch, caplog):
    wanted = chosen(checkpoint)
    folder = openvino_engine.converted_folder(encoders.encoder_info(wanted).fingerprint)
    folder.parent.mkdir(parents=True)
    folder.with_suffix(".failed").write_text("an operation is unknown")
    monkeypatch.setattr(openvino_engine, "begin_conversion", None)  # it is not tried again
    assert isinstance(encoders.build_encoder(wanted)._network, nn.Module)
    said = encoders.describe_engine(wanted, "cpu")
    assert said == "torch, float32 (OpenVINO could not convert the encoder: an operation is unknown)"


@needs_openvino
def test_a_failed_conversion_is_told_and_torch_goes_on(checkpoint, monkeypatch, caplog):
    wanted = chosen(checkpoint)
    home = openvino_engine.home_folder()
    home.mkdir()
    (home / "openvino").write_text("where a folder is needed")
    encoder = encoders.build_encoder(wanted)
    assert isinstance(encoder._network, nn.Module)
    assert "OpenVINO could not convert it" in caplog.text


@pytest.mark.slow
@needs_openvino
def test_torch_computes_while_a_conversion_goes_on_behind(checkpoint, monkeypatch):
    monkeypatch.setattr(engine, "NICE", 0)  # the test waits for it
    wanted = chosen(checkpoint)
    batch = slices(1, SIZE)
    encoders.prepare_engine(wanted, "cpu")
    encoder = encoders.build_encoder(wanted)
    assert isinstance(encoder._network, openvino_engine.TorchMeanwhile)
    first = encoder.embed(batch)
    folder = openvino_engine.converted_folder(encoder.info.fingerprint)
    openvino_engine._running[folder][0].wait()
    second = encoder.embed(batch)
    assert isinstance(encoder._network._network, openvino_engine.OpenVINONetwork)
    assert_alike(second, first)


def test_without_openvino_torch_computes_and_info_says_so(checkpoint, monkeypatch):
    monkeypatch.setattr(openvino_engine, "is_installed", lambda: False)
    wanted = chosen(checkpoint)
    assert isinstance(encoders.build_encoder(wanted)._network, nn.Module)
    assert encoders.describe_engine(wanted, "cpu") == "torch, float32 (OpenVINO is not installed)"
    with pytest.raises(ConfigError, match="bfloat16 is not possible for medsam_lite here: .*not installed"):
        encoders.build_encoder(chosen(checkpoint, precision="bfloat16"))


def test_bfloat16_is_refused_where_the_processor_has_none(checkpoint, monkeypatch):
    monkeypatch.setattr(openvino_engine, "is_installed", lambda: True)
    monkeypatch.setattr(openvino_engine, "has_bfloat16", lambda: False)
    monkeypatch.setattr(engine, "why_torch", lambda *_: None)
    with pytest.raises(ConfigError, match="the processor has no bfloat16; set it to float32"):
        encoders.build_encoder(chosen(checkpoint, precision="bfloat16"))


def test_the_fingerprint_says_the_precision(checkpoint):
    one, two = (encoders.encoder_info(chosen(checkpoint, precision=name)) for name in ("float32", "bfloat16"))
    assert one.fingerprint != two.fingerprint
    assert one.fingerprint == encoders.encoder_info(chosen(checkpoint, engine="torch")).fingerprint


@needs_openvino
def test_nothing_is_sent_to_anybody(tmp_path):
    """OpenVINO takes a stub for the package that sends events, even where that package is installed."""
    (tmp_path / "openvino_telemetry").mkdir()
    (tmp_path / "openvino_telemetry" / "__init__.py").write_text("raise SystemExit('the telemetry was loaded')")
    code = (
        "from fewsam.encoders.openvino_engine import import_openvino\n"
        "import_openvino().Core()\n"
        "import openvino.tools.ovc.telemetry_utils as t; print(t.tm.__name__)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub", done.stderr
