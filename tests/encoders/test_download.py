"""Weights from the network, from a server of our own, and the hashes of those on the disk."""

import hashlib
import http.server
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from fewsam import encoders
from fewsam.core.errors import CheckpointError, StorageError
from fewsam.encoders import download as download_module
from fewsam.encoders import registry, sam
from fewsam.encoders.download import download, file_sha256
from helpers.tiny_encoders import settings

pytestmark = pytest.mark.usefixtures("home")


# -- hashes


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


# -- downloads


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
    assert [entry.name for entry in path.parent.glob("[!.]*")] == ["sam.pth"]
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


def test_who_needs_the_same_file_at_once_waits_for_it(tmp_path, server, monkeypatch):
    def slowly(path, of=download_module.sha256_of):
        found = of(path)
        time.sleep(0.3)  # in which the others would find the whole file under its first name
        return found

    monkeypatch.setattr(download_module, "sha256_of", slowly)
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: download(server.url, tmp_path / "sam.pth", DIGEST), range(4)))
    assert {path.read_bytes() == CONTENT for path in paths} == {True}
    assert server.asked == [0]


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
