"""Proofs and challenges as users have them: real processes, files, and exit codes."""

from __future__ import annotations

import json
import os
import time
import urllib.request

import pytest
from e2e.processes import NODE, USER, run

from engram.identity import NodeKey
from engram.proofs import Challenger, Nonce, check_proof
from engram.sdk import EngramClient

TEXTS = [f"Memory number {number}: the cat sat on mat {number * 7}." for number in range(40)]


def engram(node, *arguments, **more):
    return run(USER, *arguments, ENGRAM_NODE=node.url, **more)


def challenge(node, *arguments):
    return run(NODE, "challenge", node.url, *arguments, cwd=node.data.parent)


def fetched(node, path):
    with urllib.request.urlopen(node.http_url + path, timeout=10) as answer:
        return answer.read()


def fill(node, texts=TEXTS):
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    done = engram(node, "ingest", "--file", "-", "--json", stdin=lines.encode())
    assert done.code == 0, done
    return [cid for line in done.out.splitlines() if (cid := json.loads(line).get("cid"))]


def test_what_is_ingested_is_proved_and_verified_offline(own_node, tmp_path):
    fill(own_node)
    receipt = tmp_path / "receipt.json"
    kept = engram(own_node, "ingest", "The cat sat on the mat.", "--key", "newest", "--receipt", receipt)
    cid = kept.out.strip()
    proof = engram(own_node, "prove", cid)
    assert proof.code == 0, proof
    assert proof.err.startswith(f"{cid} is held at ")
    (tmp_path / "proof.json").write_text(proof.out)
    newest = engram(own_node, "prove", "--key", "newest", "--out", tmp_path / "newest.json")
    assert (newest.code, newest.out) == (0, "")
    assert f"the key newest names {cid} at " in newest.err
    absent = engram(own_node, "prove", "v1::" + "0" * 64)
    assert absent.code == 0
    assert "is not held at" in absent.err
    own_node.stop()
    said = kept.err.strip().rpartition(": ")[2].split()  # what it says that verifies the receipt
    assert said[:2] == ["engram", "verify"]
    assert run(USER, *said[1:]).code == 0
    key = said[-1]
    for file in ("receipt.json", "proof.json", "newest.json"):
        done = run(USER, "verify", tmp_path / file, "--node", key)
        assert done.code == 0, (file, done)
        assert run(USER, "verify", tmp_path / file, "--node", NodeKey(b"o" * 32).address).code == 1
        changed = (tmp_path / file).read_text().replace("A", "B", 1)
        (tmp_path / "changed.json").write_text(changed)
        assert run(USER, "verify", tmp_path / "changed.json", "--node", key).code in (1, 2), file


def test_a_receipt_is_of_what_is_written_and_of_one_text(own_node, tmp_path):
    for _ in range(2):  # the second has the receipt of the first
        assert engram(own_node, "ingest", "once", "--receipt", tmp_path / "receipt.json").code == 0
    own_node.stop()
    own_node.start()
    own_node.wait_for("model ready")
    done = engram(own_node, "ingest", "once", "--receipt", tmp_path / "none.json")
    assert done.code == 1
    assert "it was here before" in done.err
    assert not (tmp_path / "none.json").exists()
    assert engram(own_node, "ingest", "--file", "-", "--receipt", tmp_path / "r.json").code == 2


def test_an_embedded_folder_proves_too(tmp_path, weights):
    data = tmp_path / "memory"
    kept = run(USER, "ingest", "The cat sat on the mat.", "--data", data, "--receipt", tmp_path / "receipt.json")
    proof = run(USER, "prove", kept.out.strip(), "--data", data, "--out", tmp_path / "proof.json")
    assert proof.code == 0, proof
    key = kept.err.split()[-1]
    for file in ("receipt.json", "proof.json"):
        assert run(USER, "verify", tmp_path / file, "--node", key).code == 0


def test_every_wire_gives_proofs_commitments_and_challenges(own_node):
    key = NodeKey((own_node.data / "keys" / "node.key").read_bytes())
    with own_node.client() as over_rpc, EngramClient(own_node.http_url) as over_http:
        kept = over_rpc.put("A memory that every wire proves.", key="every wire")
        content = over_rpc.get(kept.cid).content_cid
        for each in (over_rpc, over_http):
            for proof in (each.proof(kept.cid), each.proof(content), each.proof(key="every wire")):
                assert check_proof(proof, key.public).value
            now_ms = time.time_ns() // 1_000_000
            nonce = Nonce(os.urandom(32))
            challenger = Challenger(key, key.public, each.commitment(), nonce, now_unix_ms=now_ms, m=4)
            while challenger.request is not None:
                challenger.take(each.call(challenger.request), 1)
            assert challenger.judged.outcome.name == "PASS"
    done = run(USER, "verify", "-", stdin=fetched(own_node, "/v1/proof?key=every%20wire"))
    assert done.code == 0, done
    assert json.loads(fetched(own_node, "/stats"))["proof_rate"] == 1.0
    assert b'engram_challenges_total{outcome="answered"} 2\n' in fetched(own_node, "/metrics")


def test_a_challenge_by_the_nodes_own_key_is_passed_and_its_transcript_stands_alone(own_node, tmp_path):
    cids = fill(own_node)
    done = challenge(own_node, "-m", "16", "--data", own_node.data, "--save", tmp_path / "transcript.json")
    assert done.code == 0, done
    rows = dict(line.split("\t") for line in done.out.splitlines())
    assert rows["verdict"].startswith("PASS: ")
    assert rows["shown"].endswith("KiB") or " B" in rows["shown"]
    assert {"phase A", "phase B", "checkpoint", "records", "would fail"} <= set(rows)
    by_key = challenge(own_node, "--cid", cids[0], cids[1], "--data", own_node.data, "--json")
    facts = json.loads(by_key.out)
    assert (by_key.code, facts["verdict"], facts["shown"], facts["by"]) == (0, "PASS", 2, "key")
    assert facts["not_held"] == []
    unknown = "v1::" + 64 * "0"
    by_key = challenge(own_node, "--cid", cids[0], unknown, "--data", own_node.data)
    rows = dict(line.split("\t") for line in by_key.out.splitlines())
    assert by_key.code == 0
    assert rows["verdict"].endswith("shown: 1; shown not to be held: 1")
    assert rows["shown"].startswith("1 record of 2 asked for")
    assert rows["not held"].startswith(f"{unknown}: ")
    own_node.stop()
    verified = run(USER, "verify", tmp_path / "transcript.json")
    assert verified.code == 0, verified
    assert "PASS" in verified.out


def test_a_stranger_is_refused_and_told_what_to_do(own_node, tmp_path):
    fill(own_node, TEXTS[:3])
    key = NodeKey(b"s" * 32)
    (tmp_path / "stranger.key").write_bytes(b"s" * 32)
    done = challenge(own_node, "--key-file", tmp_path / "stranger.key")
    assert done.code == 14
    assert "REFUSED" in done.out
    assert "forbidden" in done.out
    assert f'challengers = ["{key.address}"]' in done.err
    own_node.stop()
    (own_node.data.parent / "node.toml").write_text(f'challengers = ["{key.address}"]\n')
    own_node.start()
    assert challenge(own_node, "--key-file", tmp_path / "stranger.key").code == 0
    doctor = run(NODE, "doctor", "--json", cwd=own_node.data.parent)
    assert key.address in doctor.out


def test_a_node_whose_bodies_were_flipped_does_not_pass(own_node):
    fill(own_node)
    assert challenge(own_node, "--data", own_node.data).code == 0
    [segment] = (own_node.data / "bodies").glob("*.seg")
    data = bytearray(segment.read_bytes())
    for at in range(200, len(data), 256):
        data[at] ^= 0xFF
    with segment.open("r+b") as file:
        file.write(data)
    done = challenge(own_node, "--data", own_node.data, "--json")
    assert done.code == 12, done
    assert json.loads(done.out)["verdict"] == "MISSING"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--records", "0"), 2, "--records 0 will not do"),
        (("--records", "1025"), 2, "1 to 1024"),
        (("--cid", "v2::00"), 2, "--cid"),
        (("--t1-ms", "0"), 2, "--t1-ms"),
        (("--data", "nowhere"), 2, "node.key is not there"),
        (("--key-file", "short.key"), 2, "32 bytes"),
        (("--key-file", "short.key", "--data", "."), 2, "exclude"),
    ],
    ids=str,
)
def test_a_wrong_challenge_is_told_so(node, tmp_path, arguments, code, said):
    (tmp_path / "short.key").write_bytes(b"short")
    done = run(NODE, "challenge", node.url, *arguments, cwd=tmp_path)
    assert done.code == code, done
    assert said in done.err


def test_another_node_than_the_address_says_is_told_so(node, tmp_path):
    (tmp_path / "a.key").write_bytes(b"s" * 32)
    address = NodeKey(b"n" * 32).address
    done = run(NODE, "challenge", node.url.replace("//", f"//{address}@"), "--key-file", tmp_path / "a.key")
    assert done.code == 2, done
    assert "another node answers there" in done.err
    assert address in done.err


def test_a_node_that_is_not_there_is_unreachable(tmp_path):
    (tmp_path / "a.key").write_bytes(b"s" * 32)
    for address in ("engram://127.0.0.1:9", f"engram://{NodeKey(b'n' * 32).address}@127.0.0.1:9"):
        done = run(NODE, "challenge", address, "--key-file", tmp_path / "a.key")
        assert done.code == 3, done
    for address in ("http://127.0.0.1:9", "nonsense", "engram://5F@127.0.0.1:9"):
        assert run(NODE, "challenge", address, "--key-file", tmp_path / "a.key").code == 2


def test_a_node_that_challenges_others_keeps_verdicts_in_its_log(make_node, weights, tmp_path):
    challenger = make_node("challenger")
    with challenger.client() as client:
        key = client.status().node_key
    challenger.stop()
    miner_folder = tmp_path / "elsewhere"
    miner_folder.mkdir()
    (miner_folder / "node.toml").write_text(f'challengers = ["{key}"]\n')
    miner = make_node("elsewhere/miner", cwd=miner_folder)
    miner.wait_for("model ready")
    fill(miner)
    (tmp_path / "node.toml").write_text(f'[challenge]\nnodes = ["{miner.url}"]\nevery_s = 600\nm = 8\n')
    challenger.start()
    with challenger.client() as client:
        deadline = time.monotonic() + 30
        while not (judged := [*client.events(types=["challenge_judged"], follow=False)]):
            assert time.monotonic() < deadline, challenger.logged()
            time.sleep(0.2)
    assert judged[0].data["verdict"] == 0
    done = run(NODE, "challenges", ENGRAM_NODE=challenger.url)
    [miner_key, challenges, passed, shown, *_] = done.out.split("\n")[0].split("\t")
    with miner.client() as client:
        assert miner_key == client.status().node_key
    assert (challenges, passed, shown) == ("1", "1", "8")
    assert "1 answered" in dict(line.split("\t") for line in engram(miner, "status").out.splitlines())["challenges"]
    assert [path.name for path in (challenger.data / "evidence").rglob("*.json")] == ["checkpoints.json"]
