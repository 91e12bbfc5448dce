"""A disk that takes no more: the node says so and ends, and keeps what it has acknowledged."""

from __future__ import annotations

import pytest
from e2e.processes import NODE, code_of, run

from engram.errors import EngramError


def fill(client):
    """Put until it fails; give what was acknowledged, and the error."""
    kept = []
    while True:
        try:
            kept.append(client.ingest_embedding([float(len(kept) + 1), *[1.0] * 383], {"filler": "x" * 2000}))
        except EngramError as error:
            return kept, error


@pytest.mark.parametrize("limit_kib", [600, 1000, 2000, 3000])
def test_a_full_disk_ends_the_node_with_a_sentence_and_loses_nothing(make_node, limit_kib):
    """SQLite's own files fill up first at some sizes: its error passed for a bug, and the node went on without.

    The limit is on the size of each file, which to whoever writes is a full disk (EFBIG in place of ENOSPC).
    """
    node = make_node(limit_kib=limit_kib)
    with node.client(timeout=10) as client:
        kept, error = fill(client)
        assert error.code == "unavailable", error
        assert node.process.wait(15) == 1
        assert code_of(client.status).code == "unavailable"
    node.process.stdout.close()
    assert "Traceback" not in node.logged()
    assert "crashed" not in node.logged()
    [said] = [line for line in node.logged().splitlines() if line.startswith("error: ")]
    assert str(node.data) in said
    node.log.write_text("")
    node.limit_kib = None
    node.start()
    with node.client() as client:
        assert client.status().records >= len(kept)
        for cid in kept:
            assert client.get(cid).cid == cid
        assert client.query_by_vector([1.0] * 384, top_k=1)
        assert client.ingest_embedding([-1.0] * 384)


def test_a_disk_too_full_to_open_on_is_a_sentence(tmp_path):
    ran = run(["/bin/bash", "-c", 'ulimit -f 8; exec "$@"', "bash", *NODE], "--data", tmp_path / "data", "--port", "0")
    assert ran.code == 1
    assert ran.err.startswith("error: ")
    assert "Traceback" not in ran.err
