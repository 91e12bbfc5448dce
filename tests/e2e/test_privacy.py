"""What users write stands in the bodies and nowhere else: not in the node's log output, not in the event log."""

from __future__ import annotations

from contextlib import suppress

from e2e.processes import Peer, code_of, pack

MARK = "Zyxwvut-Marker-90210"
"""A word that nobody writes by chance."""


def test_users_words_stand_in_the_bodies_and_nowhere_else(make_node, tmp_path, weights):
    (tmp_path / "node.toml").write_text('log_level = "debug"\n')
    node = make_node()
    node.wait_for("model ready")
    with node.client() as client:
        client.namespaces.create(f"space {MARK}", 4, "m/1")
        client.ingest_embedding([1, 2, 3, 4], {MARK: MARK}, namespace=f"space {MARK}")
        cid = client.ingest(f"a text with {MARK}", {"key": MARK, MARK: 1})
        client.query(f"asking for {MARK}", filter={MARK: 1})
        client.delete(cid)
        for call in (
            lambda: client.ingest(f"{MARK} " * 300, on_long="reject"),
            lambda: client.ingest("x", {f"engram.{MARK}": 1}),
            lambda: client.ingest("x", namespace=MARK),
            lambda: client.ingest("x", model_version=MARK),
            lambda: client.get(MARK),
            lambda: client.list(filter=f"{MARK} ="),
            lambda: client.list(filter={"$" + MARK: 1}),
        ):
            code_of(call)
        client.ingest(f"{MARK} again")
        client.delete(client.ingest(f"{MARK} at length. " * 300, {"key": MARK}))
    for data in (
        pack([0, 1, MARK, [{}]]),
        pack([0, 1, "put", [{"text": MARK, MARK: 1}]]),
        pack([0, 1, "put", [{"text": MARK, "metadata": {MARK: float("nan")}}]]),
        pack(MARK),
        MARK.encode() + b"\xc1",
    ):
        with Peer(node.port) as peer, suppress(ConnectionResetError):
            peer.send(data)
            peer.receive()
    assert MARK.encode() in node.bytes_on_disk("bodies/*.seg")
    node.stop()
    out = "\n".join(node.said)
    node.start()
    with node.client() as client:
        client.query_by_vector([1.0] * 384)
    node.kill()
    node.start()
    node.stop()
    assert "[debug" in node.logged()
    assert MARK not in node.logged() + out + "\n".join(node.said)
    assert MARK.encode() not in node.bytes_on_disk("events/*")
    assert MARK.encode() not in node.bytes_on_disk("checkpoints/*")
