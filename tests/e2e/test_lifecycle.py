"""A node's beginning and end: what keeps it from starting, and what it has kept however it ended."""

from __future__ import annotations

import json
import signal
import socket
import threading

import pytest
from e2e.processes import code_of, unchanged

from engram.errors import EngramError

V = [1.0] + [0.0] * 383

# -- what keeps a node from starting ----------------------------------------------------------------------------------


def refused(ran, code, *said):
    assert ran.code == code, ran
    assert ran.err.startswith("error: ")
    assert "Traceback" not in ran.err
    for part in said:
        assert part in ran.err


def test_a_port_that_is_taken(engram_node):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = engram_node("--data", "other", "--port", port)
    refused(ran, 1, f"port {port} on 127.0.0.1 is taken by another process", "choose another port")


@pytest.mark.parametrize("folder", ["/proc/engram", "/proc/self/engram/data", "/dev/null/data"])
def test_a_folder_that_cannot_be_written(engram_node, folder):
    refused(engram_node("--data", folder, "--port", "0"), 3, f"cannot write to the data folder {folder}", "--data")


def test_a_file_in_the_place_of_the_folder(engram_node, tmp_path):
    (tmp_path / "file").write_text("")
    refused(engram_node("--data", tmp_path / "file", "--port", "0"), 3, f"the data folder {tmp_path}/file")


def test_a_folder_that_another_node_has_open(engram_node, engram, node):
    said = (f"the data folder {node.data} is in use by process {node.process.pid}", "--node engram://")
    with unchanged(node):
        refused(engram_node("--data", node.data, "--port", "0"), 3, *said)
        refused(engram("status", "--data", node.data), 3, *said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"format": 2, "writer": "engram-node 9.9"}\n', "has format 2, written by engram-node 9.9; this build reads format 1"),
        ('{"format": "1"}', "FORMAT is not a line of JSON with a format"),
        ("[]", "FORMAT is not a line of JSON with a format"),
        ("not json", "FORMAT is not a line of JSON with a format"),
    ],
    ids=range(4),
)  # fmt: skip
def test_a_folder_of_another_format_is_left_as_it_is(engram_node, engram, tmp_path, content, said):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "FORMAT").write_text(content)
    refused(engram_node("--data", folder, "--port", "0"), 3, said)
    refused(engram("ingest", "x", "--data", folder), 3, said)
    assert [path.name for path in folder.iterdir()] == ["FORMAT"]
    assert (folder / "FORMAT").read_text() == content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("prot = 1", "node.toml, line 1: prot is not a key of a node; did you mean port?"),
        ('port = "8090"', 'node.toml, line 1: port = "8090" will not do. Allowed: 0 to 65535'),
        ("port = true", "node.toml, line 1: port = true will not do"),
        ("port = 8090.0", "node.toml, line 1: port = 8090.0 will not do"),
        ("port = -1", "node.toml, line 1: port = -1 will not do"),
        ('host = "0.0.0"', 'node.toml, line 1: host = "0.0.0" will not do. Allowed: an IP address of this machine'),
        ("data_dir = 5", "node.toml, line 1: data_dir = 5 will not do"),
        ('log_level = "loud"', 'Allowed: "debug", "info", "warning", "error"'),
        ("embedding_threads = 257", "node.toml, line 1: embedding_threads = 257 will not do"),
        ("write_queue_items = 0", "node.toml, line 1: write_queue_items = 0 will not do"),
        ("[node]\nport = 1", "node.toml, line 1: node is not a key of a node"),
        ("port = ", "node.toml, line 1: not TOML: "),
        (b"\xff", "node.toml, line 1: not UTF-8 at byte 0"),
    ],
    ids=range(13),
)
def test_a_configuration_that_will_not_do(engram_node, tmp_path, content, said):
    (tmp_path / "node.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(engram_node("--data", "never"), 2, said)
    assert not (tmp_path / "never").exists()


def test_a_damaged_log_is_named_and_left_alone(make_node, engram_node):
    node = make_node()
    with node.client() as client:
        for number in range(1, 4):
            client.ingest_embedding([float(number), 1.0, *[0.0] * 382])
    node.stop()
    [log] = sorted((node.data / "events").glob("*.log"))
    data = bytearray(log.read_bytes())
    data[100] ^= 1
    log.write_bytes(data)
    ran = engram_node("--data", node.data, "--port", "0")
    refused(ran, 1, log.name, "offset")
    assert log.read_bytes() == data


# -- without a model --------------------------------------------------------------------------------------------------


def test_without_a_model_texts_say_so_and_vectors_work(make_node, tmp_path):
    empty = tmp_path / "no-model"
    empty.mkdir()
    node = make_node("data", "--model-dir", empty)
    said = node.wait_for("model failed: ")
    assert str(empty) in said
    with node.client() as client:
        for call in (lambda: client.ingest("x"), lambda: client.query("x"), lambda: client.embed("x")):
            error = code_of(call)
            assert error.code == "model_not_ready"
            assert error.field in {"text", "texts"}
            assert str(empty) in error.message
            assert "Vectors work without it" in error.message
        cid = client.ingest_embedding(V)
        assert client.query_by_vector(V)[0].cid == cid
        [bad, good] = client.ingest_many(["x", {"vector": V}])
        assert (bad.code, good) == ("model_not_ready", cid)
        model = client.status().model
        assert model.state == "failed"
        assert str(empty) in model.message
        assert client.health().status == "degraded"
    node.process.terminate()
    assert node.process.wait(15) == 0
    node.process.stdout.close()
    assert [line.split("]")[1].split()[0] for line in node.logged().splitlines()] == ["model_failed"]
    node.log.write_text("")


# -- ends -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_node_stops_at_once_with_clients_connected(make_node, number):
    node = make_node()
    with node.client() as client, socket.create_connection(("127.0.0.1", node.port)) as half:
        client.status()
        half.sendall(b"\x94\x00\x01")
        node.stop(number, within_s=8)
    assert list((node.data / "checkpoints").iterdir())


def test_stopping_twice_is_stopping(make_node):
    node = make_node()
    node.process.send_signal(signal.SIGTERM)
    node.process.send_signal(signal.SIGTERM)
    node.process.send_signal(signal.SIGINT)
    node.stop()


class Load:
    """Clients that put without end; `kept` is what was acknowledged."""

    def __init__(self, node, clients, make):
        self.kept = []
        self.errors = []
        self._stop = threading.Event()
        self.going = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._put, args=(node, who, make)) for who in range(clients)]
        for thread in self._threads:
            thread.start()

    def _put(self, node, who, make):
        with node.client(timeout=20) as client:
            number = 0
            while not self._stop.is_set():
                number += 1
                try:
                    outcomes = make(client, who, number)
                except EngramError as error:
                    self.errors.append(error)
                    return
                self.kept += [outcome for outcome in outcomes if isinstance(outcome, str)]
                self.going.release()

    def end(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


def texts(client, who, number):
    return client.ingest_many([f"text {number} of {who}, item {item}" for item in range(20)])


def vectors(client, who, number):
    return [client.ingest_embedding([1.0 + who, float(number), *[0.0] * 382])]


@pytest.mark.parametrize("make", [texts, vectors])
def test_told_to_stop_under_load_it_keeps_what_it_acknowledged(own_node, make):
    load = Load(own_node, 4, make)
    for _ in range(8):
        assert load.going.acquire(timeout=20)
    own_node.stop(within_s=15)
    load.end()
    assert {error.code for error in load.errors} <= {"unavailable"}, load.errors
    checkpoints = sorted((own_node.data / "checkpoints").iterdir())
    assert checkpoints
    own_node.start()
    with own_node.client() as client:
        assert client.status().position == int(checkpoints[-1].name)
        for cid in load.kept:
            assert client.get(cid).cid == cid


@pytest.mark.parametrize("make", [texts, vectors])
def test_killed_under_load_it_keeps_what_it_acknowledged(own_node, make):
    load = Load(own_node, 4, make)
    for _ in range(8):
        assert load.going.acquire(timeout=20)
    own_node.kill()
    load.end()
    own_node.start()
    with own_node.client() as client:
        for cid in load.kept:
            assert client.get(cid).cid == cid
        assert client.query_by_vector(V, top_k=1)


def test_a_killed_nodes_folder_opens_again_at_once(make_node):
    node = make_node()
    with node.client() as client:
        cid = client.ingest_embedding(V)
    old = node.process.pid
    node.kill()
    node.start()
    assert (node.data / "pid").read_text() == f"{node.process.pid}\n" != f"{old}\n"
    with node.client() as client:
        assert client.get(cid).cid == cid


def test_a_client_outlives_its_nodes_restart(make_node):
    node = make_node("data")
    with node.client(timeout=10) as client:
        cid = client.ingest_embedding(V)
        node.stop()
        error = code_of(client.get, cid)
        assert error.code == "unavailable"
        assert "start one with engram-node" in error.message


# -- the data folder --------------------------------------------------------------------------------------------------


def test_the_folder_tells_others_nothing(make_node):
    node = make_node()
    assert (node.data / "keys" / "node.key").stat().st_mode & 0o777 == 0o600
    assert json.loads((node.data / "FORMAT").read_text())["format"] == 1
    assert (node.data / "pid").read_text() == f"{node.process.pid}\n"
