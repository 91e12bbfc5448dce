"""Drive the first Engram's own client, unmodified, against a node of ours: every call of it, one line each.

    python scripts/first_client.py [URL] [--package FOLDER] [--cache FOLDER]

`engram-subnet` is fetched with pip, by name and version, into a folder of its own, or taken from FOLDER; nothing of it
is ours. Its package is called `engram` too, so it runs in a process where ours is not to be found. The node should be
empty: `engram-node --data /tmp/first`. Each line is a JSON object: the call, and what it gave or raised. The exit code
is 0 unless the client cannot be had.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = "engram-subnet==0.1.2"
NEEDS = ("loguru",)
"""What the client imports when it signs; numpy is expected to be here."""
CACHE = Path.home() / ".cache" / "engram" / "first-client"
TEXTS = {
    "The transformer architecture changed everything.": {"source": "arxiv", "year": 2017},
    "A cat sat on the mat.": {"source": "notes"},
}
_LINES = ('{"text": "One line.", "metadata": {"n": 1}}', "", "not json", '{"metadata": {}}', '{"text": "Two lines."}')
SEED = "0x" + "a1" * 32
VECTOR = [0.5, *[0.25] * 383]


class NotToBeHad(Exception):
    """Pip cannot give the first client here; its own words are the message."""


def fetch(cache: Path = CACHE) -> Path:
    """Give the folder with the first client, fetched once. Raises `NotToBeHad`."""
    folder = cache / PACKAGE.replace("==", "-")
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        fresh = Path(scratch) / "package"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command = [*pip, "--target", str(fresh), PACKAGE, *NEEDS]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        except subprocess.TimeoutExpired:
            raise NotToBeHad(f"pip did not give {PACKAGE} within 240 s") from None
        if done.returncode:
            raise NotToBeHad(f"pip cannot give {PACKAGE}: {done.stderr.strip()[-300:]}")
        if not folder.exists():
            fresh.rename(folder)
    return folder


def drive(url: str, package: Path) -> list[dict[str, Any]]:
    """Make every call of the client in `package`, in a process of its own, and give what each came to."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, __file__, "--inside", url],
            env={**os.environ, "PYTHONPATH": str(package)},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    if done.returncode:
        raise NotToBeHad(f"the client in {package} does not run: {done.stderr.strip()[-500:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _inside(url: str) -> None:
    """Make the calls; this runs where `engram` is the first Engram."""
    from bittensor_wallet import Keypair  # noqa: PLC0415

    from engram.sdk.client import EngramClient  # noqa: PLC0415

    client: Any = EngramClient(url)
    signing: Any = EngramClient(url, keypair=Keypair.create_from_seed(SEED))
    _report("health", client.health)
    _report("is_online", client.is_online)
    for text, metadata in TEXTS.items():
        _report("ingest", lambda text=text, metadata=metadata: client.ingest(text, metadata=metadata))
        _report("ingest again", lambda text=text, metadata=metadata: client.ingest(text, metadata))
    _report("query", lambda: client.query("how does attention work?", top_k=5))
    _report("ingest_embedding", lambda: client.ingest_embedding(VECTOR, metadata={"kind": "vector"}))
    _report("query_by_vector", lambda: client.query_by_vector(VECTOR, top_k=1))
    _report("batch_ingest_file", lambda: client.batch_ingest_file(_corpus(), return_errors=True))
    _report("ingest nothing", lambda: client.ingest(""))
    _report("ingest too much", lambda: client.ingest("x" * 8193))
    _report("query too much", lambda: client.query("x", top_k=101))
    _report("signed ingest", lambda: signing.ingest("signed words", metadata={"naïve": "café 🧠", "n": 1.5}))
    _report("signed ingest_embedding", lambda: signing.ingest_embedding(VECTOR[::-1]))
    _report("signed query", lambda: signing.query("signed words", top_k=1))
    _report("signed query_by_vector", lambda: signing.query_by_vector(VECTOR[::-1], top_k=1))
    keyed: Any = EngramClient(url, namespace="notes", namespace_key="0123456789abcdef")
    _report("namespace_key", lambda: keyed.ingest_embedding(VECTOR))
    nowhere: Any = EngramClient("http://127.0.0.1:9", timeout=2)
    _report("nobody there: is_online", nowhere.is_online)
    _report("nobody there: ingest", lambda: nowhere.ingest("x"))
    if hasattr(client, "get"):
        _later(client, url, Keypair)


def _later(client: Any, url: str, keypair: Any) -> None:
    """Make the calls that came after the release that pip has."""
    cid = client.ingest("to be deleted", metadata={"user_id": "u_123", "type": "note"})
    _report("get", lambda: client.get(cid))
    _report("query, filtered", lambda: client.query("deleted", filter={"user_id": "u_123"}))
    _report("list", lambda: client.list(filter={"user_id": "u_123"}, limit=10, offset=0))
    _report("delete", lambda: client.delete(cid))
    _report("delete again", lambda: client.delete(cid))
    _report("get what is gone", lambda: client.get(cid))
    talk = [{"role": "user", "content": "What is Engram?"}, {"role": "assistant", "content": "A memory."}]
    _report("ingest_conversation", lambda: client.ingest_conversation(talk, session_id="s1"))
    own: Any = type(client)(url, namespace="notes", keypair=keypair.create_from_seed(SEED))
    _report("namespace: ingest_embedding", lambda: own.ingest_embedding(VECTOR, metadata={"private": True}))
    _report("namespace: list", own.list)
    _report("key shares", lambda: own.distribute_key_shares(b"k" * 32, [url, url]))


def _corpus() -> Path:
    path = Path("corpus.jsonl")
    path.write_text(
        '{"text": "One line.", "metadata": {"n": 1}}\n\nnot json\n{"metadata": {}}\n{"text": "Another line."}\n'
    )
    return path


def _report(call: str, make: Callable[[], Any]) -> None:
    try:
        came = {"gave": make()}
    except Exception as error:  # noqa: BLE001 - what the client raises is what is to be seen
        came = {"raised": type(error).__name__, "words": str(error)}
    print(json.dumps({"call": call, **came}, ensure_ascii=False), flush=True)


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8091")
    parser.add_argument("--package", type=Path, help="a folder that has the first client's `engram`")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where pip puts it")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        _inside(options.url)
        return 0
    try:
        for line in drive(options.url, options.package or fetch(options.cache)):
            print(json.dumps(line, ensure_ascii=False))
    except NotToBeHad as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
