"""Long texts against real nodes: kept whole, found by their parts, gone as one, whatever happens in between."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import golden
import msgspec
import pytest
from e2e.processes import ROOT, USER, code_of, run

import engram
from engram.errors import EngramError, NotFound, TooLarge, Unprocessable

GLOSSES = [json.loads(line)["text"] for line in (golden.DATA / "glosses.jsonl").read_text("utf-8").splitlines()]


def book(title, chapters=12):
    """Some 60 KB of prose: every sentence names its chapter, so that no two chunks are alike."""
    parts = []
    for chapter in range(chapters):
        parts.append(f"{title}, chapter {chapter}")
        for start in range(0, 64, 8):
            parts.append(" ".join(f"In {title} {chapter}: {gloss}." for gloss in GLOSSES[start : start + 8]))
    return "\n\n".join(parts)


def unsigned(kept):
    """Give what was kept without its receipt, which is of one write and one node."""
    return msgspec.structs.replace(kept, receipt=None)


def audited(data):
    """Have the auditor, which shares no code with the node, judge a folder that no node has open."""
    ran = subprocess.run(
        [sys.executable, ROOT / "scripts" / "audit.py", data], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_book_is_kept_found_restarted_and_deleted(own_node):
    text = book("Atlas")
    sentence = f"In Atlas 7: {GLOSSES[33]}."
    with own_node.client() as client:
        kept = client.put(text, {"kind": "book"})
        assert kept.chunks > 50
        short = client.ingest("A short note about nothing.")
        assert client.get(kept.cid).text == text
    for _ in range(2):
        with own_node.client() as client:
            hits = client.query(sentence, top_k=5)
            assert [hit.cid for hit in hits] == [kept.cid, short]
            assert sentence in hits[0].text
            assert text[slice(*hits[0].chunk.span)] == hits[0].text == client.get(hits[0].chunk.cid).text
            assert hits[0].metadata == client.get(kept.cid).metadata
            assert [one.cid for one in client.list()] == [kept.cid, short]
            assert len(client.list(chunks=True, limit=1000)) == client.status().records == kept.chunks + 2
            assert unsigned(client.put(text, {"kind": "book"})) == engram.sdk.Kept(
                cid=kept.cid, created=False, chunks=kept.chunks
            )
            error = code_of(client.delete, hits[0].chunk.cid)
            assert isinstance(error, Unprocessable)
            assert kept.cid in error.message
        own_node.stop()
        audited(own_node.data)
        own_node.start()
        own_node.wait_for("model ready")
    with own_node.client() as client:
        client.delete(kept.cid)
        assert [hit.cid for hit in client.query(sentence)] == [short]
        assert isinstance(code_of(client.get, kept.cid), NotFound)
    own_node.stop()
    audited(own_node.data)
    for suffix in ("", "-wal", "-shm"):
        (own_node.data / f"state.db{suffix}").unlink(missing_ok=True)
    own_node.start()
    own_node.wait_for("model ready")
    with own_node.client() as client:
        assert [hit.cid for hit in client.query(sentence)] == [short]
        assert (client.status().records, client.status().chunks) == (1, 0)
        again = client.put(text, {"kind": "book"})
        assert (again.cid, again.created, again.chunks) == (kept.cid, True, kept.chunks)
        assert client.query(sentence)[0].cid == kept.cid


def test_two_texts_that_share_their_chunks_are_two_memories(client):
    common = book("Commons", chapters=2)
    first, second = client.ingest(common, {"copy": 1}), client.ingest(common, {"copy": 2})
    longer = client.ingest(common + "\n\n" + book("Sequel", chapters=1))
    found = client.query(f"In Commons 1: {GLOSSES[50]}.", top_k=3)
    assert {hit.cid for hit in found} == {first, second, longer}
    assert len({hit.text for hit in found}) == 1
    client.delete(first)
    found = client.query(f"In Commons 1: {GLOSSES[50]}.", top_k=3, filter="not exists(copy) or copy = 2 or copy = 1")
    assert {hit.cid for hit in found[:2]} == {second, longer}
    client.delete(second)
    client.delete(longer)


def test_long_short_and_bad_texts_in_one_ingest(client, tmp_path):
    items = [book("Mixed", 2), "short", " ", {"text": book("Other", 2), "metadata": {"note": "x" * 4060}}, "tail"]
    outcomes = client.ingest_many(items)
    assert [type(outcome) for outcome in outcomes] == [str, str, Unprocessable, TooLarge, str]
    rejected = client.ingest_many(items, on_long="reject")
    assert [type(outcome) for outcome in rejected] == [TooLarge, str, Unprocessable, TooLarge, str]
    file = tmp_path / "corpus.jsonl"
    file.write_text("\n".join(json.dumps(item if isinstance(item, dict) else {"text": item}) for item in items))
    assert client.batch_ingest_file(file)[:2] == outcomes[:2]
    kept = [outcome for _, outcome in client.iter_ingest_file(file) if not isinstance(outcome, EngramError)]
    assert [one.chunks > 2 for one in kept] == [True, False, False]
    for cid in (outcomes[0], outcomes[1], outcomes[4]):
        client.delete(cid)


def test_the_command_line_keeps_and_finds_a_long_text(node, engram_cli, client):
    text = book("Shell", 2)
    ran = engram_cli("ingest", "-", "--json", stdin=text.encode())
    answer = json.loads(ran.out)
    assert answer["chunks"] > 5
    hits = json.loads(engram_cli("query", f"In Shell 1: {GLOSSES[9]}.", "-k", "1", "--json").out)["hits"]
    assert (hits[0]["cid"], hits[0]["text"]) == (answer["cid"], text[slice(*hits[0]["chunk"]["span"])])
    assert f"chunks\t{answer['chunks']} chunks\n" in engram_cli("get", answer["cid"]).out
    refused = engram_cli("ingest", text + " more", "--on-long", "reject")
    assert (refused.code, "word pieces are over the limit of 254" in refused.err) == (1, True)
    assert engram_cli("delete", answer["cid"]).code == 0


@pytest.fixture
def engram_cli(node):
    return lambda *arguments, **options: run(USER, *arguments, ENGRAM_NODE=node.url, **options)


def test_a_folder_and_a_node_give_a_text_the_same_names(client, tmp_path):
    text = book("Twins", 1)
    over_rpc = client.put(text, {"n": 1})
    with engram.open(tmp_path / "data") as memory:
        embedded = memory.put(text, {"n": 1})
        assert unsigned(embedded) == unsigned(over_rpc)
        chunks = [one.cid for one in memory.list(chunks=True)]
    assert chunks == [one.cid for one in client.list(filter="n = 1", chunks=True, limit=1000) if one.cid in chunks]
    client.delete(over_rpc.cid)


def test_a_node_told_to_reject_rejects(make_node, weights, tmp_path):
    (tmp_path / "node.toml").write_text('on_long = "reject"\n')
    node = make_node()
    node.wait_for("model ready")
    with node.client() as client:
        assert isinstance(code_of(client.ingest, book("Strict", 1)), TooLarge)
        assert client.put(book("Strict", 1), on_long="chunk").chunks > 2


@pytest.mark.parametrize("looks", [1, 300, 1500])
def test_a_kill_in_the_middle_of_a_long_put_leaves_all_or_nothing(own_node, looks):
    """What is acknowledged is whole after it; what is not may be there, and then it is whole too."""
    texts = [book(f"Killed{number}", 3) for number in range(8)]
    kept = []

    def write():
        with own_node.client() as client:
            try:
                for text in texts:
                    kept.append(client.put(text))
            except EngramError:
                return

    writer = threading.Thread(target=write)
    writer.start()
    with own_node.client() as watcher:
        while looks and writer.is_alive():  # so many looks at a node that has a long text on its way
            looks -= watcher.status().queue_length > 0
    own_node.kill()
    writer.join()
    own_node.start()
    own_node.wait_for("model ready")
    with own_node.client() as client:
        documents = client.list()
        assert len(documents) - len(kept) in (0, 1)
        assert [one.cid for one in documents][: len(kept)] == [one.cid for one in kept]
        assert client.status().records == sum(one.chunks + 1 for one in documents)
        for number, one in enumerate(documents):
            chunks = client.list(filter=f'engram.parent = "{one.cid}"', chunks=True, limit=1000)
            assert [chunk.text for chunk in chunks] == [
                one.text[slice(*chunk.metadata["engram.span"])] for chunk in chunks
            ]
            assert len(chunks) == one.chunks > 5
            assert client.query(f"In Killed{number} 2: {GLOSSES[5]}.", top_k=1)[0].cid == one.cid
        assert client.put(texts[len(documents) - 1] if documents else texts[0]).chunks > 5
    own_node.stop()
    audited(own_node.data)
