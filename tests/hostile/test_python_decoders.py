"""Whatever bytes come, each decoder gives a value or an error of its own, in bounded memory and time.

`docs/hostile.md` lists the decoders; `test_table.py` holds it to these. Memory is what Python allocates: what the
native core takes is bounded by its fuzz targets.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import time
import tracemalloc
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import golden
import msgspec
import proof_world
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spoiled import spoiled

from engram import cid as cids
from engram import events, identity, proofs, record
from engram import filter as filters
from engram.errors import EngramError
from engram.events import checkpoints
from engram.gateway._http_v1 import _bodies as v1_bodies
from engram.gateway._http_v1 import _signatures as v1_signatures
from engram.native import _core
from engram.node import load_config
from engram.node._evidence import EvidenceFolder
from engram.runtime import MemoryDisk, RealDisk, RealRng, RealTables, _snapshot
from engram.runtime._snapshot import Cursor, Snapshot
from engram.sdk._address import parse_url
from engram.sdk._lines import read_slots
from engram.store import PackedFile, Store, _format, _index_files, _place, _trie_file
from engram.store._tables import FOLD_VERSION
from engram.wire import ClientConnection, Get, Query, Receipt, ServerConnection, decode_answer, request_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NODE = identity.NodeKey(bytes(range(32)))
RPC = golden.load("rpc")
NOTE = golden.FORMATS["checkpoint"]["note"].encode()
SEGMENT = bytes.fromhex(golden.FORMATS["log"]["segment_hex"])
PAYLOADS = [bytes.fromhex(case["payload_hex"]) for case in golden.FORMATS["payload"]["accepted"]]
EVENTS = [
    events.encode(events.LogCreated(format=1, node_key=bytes(32))),
    events.encode(events.KeySet(ns=bytes(32), k=bytes(32), cid="", key=bytes(32), signer=bytes(32), issued_unix_ms=1)),
    msgspec.msgpack.encode({"type": "newer.7", "n": [1, None, {"a": b"b"}]}),
]
FILTERS = [
    'year >= 2017 and (source = "arxiv" or not tags any ["a", "b"]) and title match "deep learning"',
    "a.b in (1, 2.5, null, true) and date between '2020-01-01' and '2020-02-29T23:59:59.9+14:00' and x is not null",
    '{"$and": [{"a": {"$gte": 1, "$lt": 1e3}}, {"$not": {"b.c": {"$in": ["x", null]}}}, {"d": {"$exists": true}}]}',
]
TOML = (
    'port = 9\nhost = "127.0.0.1"\n[models.m1]\nurl = "http://127.0.0.1:1/v1"\nname = "x"\ndim = 4\n'
    '[actors."census"]\nclass = "a.b:C"\nnotes = """\nport = 9\n"""\n'
)
ENV = "export MINER_PORT=8091 # port\nLOG_LEVEL='INFO'\nENGRAM_HOST=\"127.0.0.1\"\n\nDP_EPSILON=none\n"


def hexes(value: Any) -> list[bytes]:
    """Every hex string of golden data."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return [bytes.fromhex(value)]
    if isinstance(value, dict):
        value = list(value.values())
    return [found for inner in value for found in hexes(inner)] if isinstance(value, list) else []


def text(data: bytes) -> str:
    """As a program has it: surrogates may stand in it, where bytes were no UTF-8."""
    return data.decode("utf-8", "surrogateescape")


# -- what is read from the network -----------------------------------------------------------------------------------------


def rpc_server(data: bytes) -> None:
    connection = ServerConnection()
    for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
        for event in connection.receive(piece):
            if not hasattr(event, "request"):
                connection.send_refusal(event)


def rpc_client(data: bytes) -> None:
    connection = ClientConnection()
    connection.call(Get(cid="x"))
    connection.receive(data)


def http_request(data: bytes) -> None:
    line, _, body = data.partition(b"\n")
    path, _, query = line.partition(b"?")
    for verb in ("GET", "POST", "PUT", "DELETE"):
        with contextlib.suppress(EngramError):
            request_of(verb, path, query, body)
    request_of("POST", b"/v1/query", b"", body)


def http_answer(data: bytes) -> None:
    for status in (200, 404, 503):
        with contextlib.suppress(EngramError):
            decode_answer(Query, status, data)


def http_v1(data: bytes) -> None:
    for kind in (v1_bodies.Ingest, v1_bodies.Search, v1_bodies.Challenge, v1_bodies.Manage):
        with contextlib.suppress(EngramError):
            _, fields = v1_bodies.read(data, kind, "X")
            v1_signatures.owner_of(fields, 10**12)
            v1_signatures.signer_of(fields, "X", 10**12, v1_signatures.Replays(0))


# -- documents of what a node holds and did ------------------------------------------------------------------------------


def document(data: bytes) -> None:
    found = proofs.read(data)
    with contextlib.suppress(EngramError):
        proofs.verify(found)
    proofs.verify(found, NODE.public)


def documents() -> list[bytes]:
    world = proof_world.world(12)
    transcript = world.run(world.challenger(m=4))
    commitment = proofs.commitment_of(world.state)
    record_there = proofs.prove_record(world.state, cids.from_digest(record.decode(world.payloads[3]).digest))
    record_gone = proofs.prove_record(world.state, cids.from_digest(bytes(32)))
    other = proof_world.state_of(world.payloads[:5])
    first, second = (proofs.Said(checkpoint=state.note) for state in (world.state, other))
    state, time_ns = world.state, 10**18
    receipt = Receipt(
        event=state.event,
        position=state.size - 1,
        size=state.size,
        root=state.root,
        time_unix_ns=time_ns,
        path=state.path,
        signature=NODE.sign(identity.receipt_message(state.size, state.root, time_ns)),
    )
    made = [transcript, record_there, record_gone, receipt, proofs.equivocation(NODE.public, first, second)]
    for each in made:
        proofs.verify(each, NODE.public)
    return [*map(proofs.write, made), commitment.checkpoint]


# -- what is read from files -------------------------------------------------------------------------------------------------

HOME = Path("/home")


def file_of(data: bytes, name: str) -> MemoryDisk:
    disk = MemoryDisk()
    disk.make_folder((HOME / name).parent)
    file = disk.open(HOME / name, create=True)
    file.write(0, data)
    file.close()
    return disk


def format_file(data: bytes) -> None:
    disk = file_of(data, "FORMAT")
    _format.settle(disk.open(HOME / "FORMAT"), disk, HOME, "test")


def node_key(data: bytes) -> None:
    identity.load_or_create(file_of(data, "node.key"), HOME / "node.key", RealRng())


def largest_checkpoint(data: bytes) -> None:
    checkpoints.largest(file_of(data, f"{6:020}"), HOME, NODE.public)


def scrub_place(data: bytes) -> None:
    _place.load(file_of(data, "scrub"), HOME)


def follower(data: bytes) -> None:
    for kind in (Snapshot, Cursor):
        disk = file_of(data, "p")
        _snapshot.load(disk, HOME / "p", kind)
        # Whoever can write the file can write its checksum.
        disk = file_of(b"EGP1" + hashlib.sha256(data).digest() + data, "p")
        _snapshot.load(disk, HOME / "p", kind)


def index_manifest(data: bytes) -> None:
    for content in (data, hashlib.sha256(data).digest() + data):
        index = _index_files.IndexFiles(file_of(content, "MANIFEST"), HOME)
        index.open(lambda position: bytes(32) if 0 <= position < 2**63 else None)


def saved_tries(data: bytes) -> None:
    for content in (data, hashlib.sha256(data).digest() + data):
        _trie_file.load(file_of(content, "trie/tries"), HOME, lambda _: bytes(32), 9)


def remembered(data: bytes) -> None:
    name = f"{identity.ss58(NODE.public)}/checkpoints.json"
    EvidenceFolder(file_of(data, name), HOME).largest(NODE.public)


def packed(data: bytes) -> None:
    disk = file_of(data, "one.engram")
    memory = PackedFile(disk, HOME / "one.engram")
    memory.unpack()
    memory.release()


def on_disk(tmp: Path, name: str, data: bytes) -> Path:
    (tmp / name).write_bytes(data)
    return tmp / name


def json_lines(data: bytes) -> None:
    for _ in read_slots(io.BytesIO(data)):  # a list would hold every error's frames
        pass


def good_archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("FORMAT", b"1")
        member = [1, hashlib.sha256(b"1").hexdigest()]
        archive.writestr("ENGRAM", json.dumps({"engram": 1, "files": {"FORMAT": member}}))
    return out.getvalue()


RESPONSE = msgspec.msgpack.encode([1, 0, {"code": "busy", "message": "x", "retry_after_s": 1.5}, None])
QUERY_JSON = b'{"vector": [1.0, 2], "top_k": 5, "filter": {"a": {"$gt": 1}}, "namespace": "n"}'
V1 = json.dumps({"cid": "v1::00", "text": "t", "metadata": {"a": 1}, "namespace": "n", "namespace_hotkey": identity.ss58(NODE.public),
                 "namespace_sig": "0x" + "00" * 64, "namespace_timestamp_ms": 10**12}).encode()  # fmt: skip
PLACE = msgspec.json.encode(_place.Place(part="log", findings=[_place.Finding("log", "events/0", 1, 2, "x", 3)]))
SNAPSHOT = msgspec.msgpack.encode(Snapshot("n", "f", 3, 4, bytes(32), ["x.1"], b"state"))
MANIFEST = msgspec.msgpack.encode(_index_files.Manifest(1, 0, bytes(32), {bytes(32): [bytes(32), b"x" * 300]}))

REMEMBERED = msgspec.json.encode(
    [{"size": 6, "root": bytes(32), "commitment": {"checkpoint": NOTE, "event": EVENTS[0], "path": [bytes(32)]}}]
)
TRIE = _core.Trie(bytes(72)).commit()
TRIE_HEADER = _trie_file.Header("tries", FOLD_VERSION, 1, bytes(32), TRIE.root, TRIE.root, len(TRIE.save()), [])
TRIES = msgspec.msgpack.encode(TRIE_HEADER)
TRIES = len(TRIES).to_bytes(4) + TRIES + TRIE.save() + TRIE.save()

DECODERS: dict[str, tuple[Callable[..., object], Sequence[bytes]]] = {
    "ServerConnection": (rpc_server, hexes(RPC)),
    "ClientConnection": (rpc_client, [RESPONSE, b"\x94\x01\x00\xc0\x80", b"\x93\x02\xa5error\x91\x80", *hexes(RPC)]),
    "request_of": (http_request, [b"/v1/query\n" + QUERY_JSON, b"/v1/memories/v1%3A%3A00?include_vector=true&namespace=n\n"]),
    "decode_answer": (http_answer, [b'{"hits": [], "mode": "exact"}', b'{"error": "x", "code": "busy", "retry_after_s": 1}']),
    "HTTP v1": (http_v1, [V1]),
    "filter.parse": (lambda data: filters.parse(text(data)), [spec.encode() for spec in FILTERS]),
    "digest_of, content_of": (
        lambda data: (cids.content_of(text(data)), cids.digest_of(text(data))),
        [b"v1::" + b"0a" * 32, b"sha256:" + b"0a" * 32],
    ),
    "from_ss58": (lambda data: identity.from_ss58(text(data)), [identity.ss58(NODE.public).encode()]),
    "record.decode": (record.decode, PAYLOADS),
    "metadata_from_json": (record.metadata_from_json, [b'{"a":[1,"\\ud834\\udd1e"],"b":{"c":1e300}}', b'{"n":1152921504606847000}']),
    "checkpoints.parse": (lambda data: (checkpoints.signer(data), checkpoints.parse(data, NODE.public)), [NOTE]),
    "events.decode": (events.decode, EVENTS),
    "events.judge": (lambda data: events.judge({f"{0:020}.log": data}, None), [SEGMENT]),
    "proofs.read, verify": (document, documents()),
    "parse_url": (lambda data: parse_url(text(data)), [b"engram://127.0.0.1:8090", b"http://[::1]:1/a"]),
    "read_slots": (json_lines, [b'\xef\xbb\xbf{"text":"a","metadata":{"n":1}}\n\n{"vector":[1,2]}\n']),
    "FORMAT": (format_file, [b'{"format": 1, "writer": "x"}\n', b'{"format"']),
    "keys/node.key": (node_key, [bytes(range(32))]),
    "checkpoints/": (largest_checkpoint, [NOTE]),
    "scrub": (scrub_place, [PLACE]),
    "projections/": (follower, [SNAPSHOT, b"EGP1" + hashlib.sha256(SNAPSHOT).digest() + SNAPSHOT]),
    "index/MANIFEST": (index_manifest, [MANIFEST]),
    "trie/tries": (saved_tries, [TRIES]),
    "evidence/": (remembered, [b"[]", REMEMBERED]),
    "packed file": (packed, [good_archive()]),
}  # fmt: skip
"""Each decoder, as the table names it, and good inputs."""

IN_FOLDERS = {
    "node.toml": (lambda tmp, data: load_config(on_disk(tmp, "node.toml", data)), [TOML.encode()]),
    "ENV_FILE": (lambda tmp, data: load_config(environ={"ENV_FILE": str(on_disk(tmp, "env", data))}), [ENV.encode()]),
}
"""Those that read a real file."""

FOLDER = golden.DATA / "folder"
FILES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file())


@contextlib.contextmanager
def bounded(size: int) -> Any:
    """See that what is done with so many bytes takes memory in proportion, and no time to speak of."""
    tracemalloc.start()
    began = time.thread_time()
    try:
        yield
    finally:
        took, (_, peak) = time.thread_time() - began, tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak <= (4 << 20) + 200 * size, f"{peak} bytes of memory for {size} bytes"
    assert took <= 2 + size * 50e-6, f"{took:.1f} s for {size} bytes"


def judged(decode: Callable[[bytes], object], data: bytes) -> None:
    with bounded(len(data)), contextlib.suppress(EngramError):
        decode(data)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("events.decode", b"\x81"),
        ("events.decode", b"\x80"),
        ("events.decode", b"\x81\xa4type" * 2000),
        ("events.decode", b"\x81\xa4type\xa2\xed\xa0"),
        ("index/MANIFEST", b"\x81\xa1a" * 2000),
        ("projections/", b"\x91" * 3000),
        ("scrub", b'{"log":' * 3000),
        ("evidence/", b"[" * 4000),
        ("decode_answer", b'{"a":' * 3000),
        ("trie/tries", (4000).to_bytes(4) + b"\x91" * 4000),
    ],
)
def test_what_was_found_once_stays_mended(name, data):
    judged(DECODERS[name][0], data)


ANY_TIME = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck), print_blob=True)


@pytest.mark.parametrize("name", DECODERS)
@ANY_TIME
@given(data=st.data())
def test_any_bytes_give_a_value_or_an_error_of_ours(name, data):
    decode, good = DECODERS[name]
    judged(decode, data.draw(spoiled(good)))


@pytest.mark.parametrize("name", IN_FOLDERS)
@ANY_TIME
@given(data=st.data())
def test_any_file_gives_a_value_or_an_error_of_ours(name, data, tmp_path):
    decode, good = IN_FOLDERS[name]
    judged(lambda content: decode(tmp_path, content), data.draw(spoiled(good)))


@settings(ANY_TIME, max_examples=40)
@given(name=st.sampled_from(FILES), data=st.data())
def test_a_folder_with_any_file_in_it_opens_or_is_refused(name, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "data"
    shutil.copytree(FOLDER, folder)
    content = (FOLDER / name).read_bytes()
    (folder / name).write_bytes(data.draw(spoiled([content[:8192], content])))
    with contextlib.suppress(EngramError):
        store = Store.open(RealDisk(), RealTables(), folder, RealRng(), 2**62, "test")
        store.close(2**62)
    shutil.rmtree(folder.parent)


def test_good_input_is_what_the_edits_begin_with():
    """Were a good input refused, its edits would test the first check alone."""
    for decode, good in DECODERS.values():
        for data in good[:1]:
            decode(data)
    assert _core.check_event(EVENTS[0]) is None
