"""Kill a node with SIGKILL again and again while clients write, and see that nothing acknowledged is lost.

    python scripts/kill9.py [--rounds 20] [--seed 1] [--clients 4] [--data FOLDER]
    python scripts/kill9.py --cli [--texts 5000] [--corpus wordnet.jsonl]

A round: clients in processes of their own keep texts and vectors, delete some, and note each CID after its
acknowledgement; the node is killed at a random moment, and in some rounds once more while it starts again. Then, over
the whole history: the folder is not damaged (`audit.py`), the log gives no record twice, every acknowledged record is
there with its text, and none that was acknowledged as deleted. The last round ends with a graceful stop, after which
the folder must be sound.

kill -9 keeps what the system holds in memory, so this tests recovery; what a power cut leaves is tested on the
simulated disk. With --cli a file of texts is ingested through the command line, the node is killed in the middle, and
the same command is run again. The seed chooses what is written and when the node is killed; the machine's own timing is
no part of it. Exit codes: 0 all held, 1 something did not.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import audit
from auditing.events import decode
from auditing.log import read_log
from node_process import ENGRAM, NodeProcess

from engram.errors import EngramError, NotFound
from engram.sdk import EngramClient

if TYPE_CHECKING:
    from collections.abc import Iterator

GLOSSES = Path(__file__).parents[1] / "tests" / "data" / "glosses.jsonl"
VECTORS, MODEL, DIM = "vectors", "kill9/1", 32
PAGE = 1000
FAILED = 1
"""The exit code of an `engram` whose calls failed."""


class Broken(Exception):
    """A promise was not kept."""


# -- a client ---------------------------------------------------------------------------------------------------------


def client(url: str, notes: Path, name: str, seed: str) -> None:
    """Write until the node is gone; note what is acknowledged once it is, and a deletion before it is asked for."""
    rng = random.Random(seed)  # noqa: S311 (a seed to repeat, not a secret)
    texts = [json.loads(line)["text"] for line in GLOSSES.read_text("utf-8").splitlines()]
    with notes.open("a", encoding="utf-8", buffering=1) as file, EngramClient(url, timeout=20) as node:

        def note(**facts: Any) -> None:
            file.write(json.dumps(facts) + "\n")

        own: list[str] = []
        try:
            for number in range(1_000_000):
                _write_some(node, rng, texts, f"{name} {number}", own, note)
        except EngramError as error:
            note(ended=str(error))


def _write_some(node: EngramClient, rng: random.Random, texts: list[str], tag: str, own: list[str], note: Any) -> None:
    match rng.choices(["shared", "text", "batch", "vector", "vectors", "delete"], [2, 3, 1, 4, 2, 1])[0]:
        case "shared":  # other clients keep the same text, maybe at the same time
            text = rng.choice(texts)
            note(cid=node.ingest(text), text=text)
        case "text":
            text = f"{rng.choice(texts)} ({tag})"
            note(cid=node.ingest(text, metadata={"tag": tag}), text=text)
            return
        case "batch":
            many = [f"{text} ({tag}, {at})" for at, text in enumerate(rng.choices(texts, k=rng.randint(2, 12)))]
            for text, outcome in zip(many, node.ingest_many(many), strict=True):
                _note_outcome(outcome, text, None, note)
        case "vector":
            text = f"vector of {tag}" if rng.random() < 0.5 else None
            cid = node.ingest_embedding(_vector(rng), {"tag": tag}, text=text, namespace=VECTORS)
            note(cid=cid, text=text, ns=VECTORS)
            own.append(cid)
        case "vectors":
            rows = [_vector(rng) for _ in range(rng.randint(2, 200))]
            for outcome in node.ingest_embeddings(rows, namespace=VECTORS):
                _note_outcome(outcome, None, VECTORS, note)
        case "delete" if own:
            cid = own.pop(rng.randrange(len(own)))
            note(deleting=cid)
            node.delete(cid, namespace=VECTORS)
            note(deleted=cid)


def _note_outcome(outcome: str | EngramError, text: str | None, namespace: str | None, note: Any) -> None:
    if isinstance(outcome, EngramError):
        raise outcome
    note(cid=outcome, text=text, ns=namespace)


def _vector(rng: random.Random) -> list[float]:
    return [rng.gauss(0, 1) for _ in range(DIM)]


# -- what was acknowledged --------------------------------------------------------------------------------------------


@dataclass
class Acknowledged:
    """What the clients were told, over all rounds."""

    texts: dict[tuple[str | None, str], str | None] = field(default_factory=dict)
    perhaps: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    endings: Counter[str] = field(default_factory=Counter)

    def read(self, notes: Path) -> int:
        """Take a client's notes in; give how many acknowledgements they hold."""
        count = 0
        for line in notes.read_text("utf-8").splitlines():
            note = json.loads(line)
            if "cid" in note:
                self.texts[note.get("ns"), note["cid"]] = note["text"]
            elif "deleting" in note:
                self.perhaps.add(note["deleting"])
            elif "deleted" in note:
                self.deleted.add(note["deleted"])
            else:
                self.endings[note["ended"].partition(":")[0][:60]] += 1
            count += "cid" in note or "deleted" in note
        return count


def verify(node: EngramClient, told: Acknowledged) -> int:
    """See that every acknowledged record is there, once, with its text; give how many are listed in all."""
    held = {(ns, record.cid): record.text for ns in (None, VECTORS) for record in listed(node, ns)}
    for (ns, cid), text in told.texts.items():
        gone = cid in told.deleted
        if gone is ((ns, cid) in held) and (gone or cid not in told.perhaps):
            raise Broken(f"{cid} was acknowledged {'as deleted, and is there' if gone else 'and is lost'}")
        if (ns, cid) in held and held[ns, cid] != text:
            raise Broken(f"{cid} has the text {held[ns, cid]!r}, and {text!r} was acknowledged")
    return len(held)


def verify_each(node: EngramClient, told: Acknowledged) -> None:
    """See the same by asking for each record by its CID."""
    for (ns, cid), text in told.texts.items():
        try:
            found = node.get(cid, namespace=ns).text
        except NotFound:
            if cid not in told.perhaps:
                raise Broken(f"{cid} was acknowledged, is listed, and is not given") from None
        else:
            if found != text or cid in told.deleted:
                raise Broken(f"{cid} is given with the text {found!r}; acknowledged: {text!r}, or its deletion")


def listed(node: EngramClient, namespace: str | None) -> Iterator[Any]:
    """Give every record of a namespace; `Broken` where one comes twice."""
    seen, offset = set(), 0
    while page := node.list(limit=PAGE, offset=offset, namespace=namespace):
        for record in page:
            if record.cid in seen:
                raise Broken(f"{record.cid} is listed twice in {namespace or 'public'}")
            seen.add(record.cid)
            yield record
        offset += len(page)


def inspect(data: Path, *, sound: bool) -> int:
    """Audit a folder whose node is dead; a torn tail is as it should be unless `sound`. Give its living memberships."""
    found = audit.audit(data)
    if found.status == "damaged" or (sound and found.status != "sound"):
        raise Broken("; ".join(map(str, found.findings)))
    segments = sorted((data / "events").glob("*.log"))
    log = read_log(((path.name, path.read_bytes(), path == segments[-1]) for path in segments), 0, lambda _: None)
    lives: Counter[tuple[bytes, str]] = Counter()
    for event in map(decode, log.events):
        if event["type"] in ("record_stored.1", "record_deleted.1"):
            lives[event["ns"], event["cid"]] += 1 if event["type"] == "record_stored.1" else -1
    wrong = [cid for (_, cid), count in lives.items() if count not in (0, 1)]
    if wrong:
        raise Broken(f"the log stores {wrong[0]} {lives.most_common(1)[0][1]} times")
    return sum(lives.values())


# -- the rounds -------------------------------------------------------------------------------------------------------


def rounds(folder: Path, count: int, clients: int, seed: int, longest_s: float) -> None:
    """Kill the node `count` times while clients write; `Broken` says which promise was not kept."""
    rng = random.Random(seed)  # noqa: S311
    data, told = folder / "data", Acknowledged()
    starts = []
    for number in range(1, count + 1):
        with NodeProcess(data) as node:
            starts.append(time.perf_counter() - node.started)
            with EngramClient(node.url, timeout=60) as reader:
                if number == 1:
                    reader.namespaces.create(VECTORS, dim=DIM, model=MODEL)
                verify(reader, told)
            notes = [folder / f"{number}-{name}.jsonl" for name in range(clients)]
            running = [_start_client(node.url, path, f"{seed} {path.stem}") for path in notes]
            _wait_for_writing(notes)
            time.sleep(rng.uniform(0, longest_s))
            node.kill()
        for process in running:
            process.wait(timeout=60)
        fresh = sum(map(told.read, notes))
        living = inspect(data, sound=False)
        killed = _kill_while_starting(data, rng) if rng.random() < 0.4 else ""
        print(f"round {number}/{count}: {fresh} acknowledged, {living} living, not damaged{killed}", flush=True)
    _last_round(data, told, starts, count)


def _start_client(url: str, notes: Path, seed: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, __file__, "--client", url, "--notes", notes, "--seed-text", seed])


def _wait_for_writing(notes: list[Path]) -> None:
    until = time.monotonic() + 60
    while not all(path.exists() and path.stat().st_size for path in notes):
        if time.monotonic() > until:
            raise Broken("a client had nothing acknowledged in a minute")
        time.sleep(0.005)


def _kill_while_starting(data: Path, rng: random.Random) -> str:
    wait_s = rng.uniform(0.2, 0.6)
    with NodeProcess(data, wait=False):
        time.sleep(wait_s)
    inspect(data, sound=False)
    return f"; killed again {wait_s:.2f} s into its start"


def _last_round(data: Path, told: Acknowledged, starts: list[float], count: int) -> None:
    with NodeProcess(data) as node:
        with EngramClient(node.url, timeout=60) as reader:
            held = verify(reader, told)
            verify_each(reader, told)
        node.stop()
    living = inspect(data, sound=True)
    if living != held:
        raise Broken(f"the log holds {living} living records, and {held} are listed")
    torn = len(list((data / "events").glob("*.torn-*")) + list((data / "bodies").glob("*.torn-*")))
    print(
        f"{count} rounds: {len(told.texts)} records and {len(told.deleted)} deletions acknowledged, {held} listed, "
        f"each once; {torn} torn tails cut; slowest start {max(starts):.2f} s; the folder is sound"
    )


# -- the command line -------------------------------------------------------------------------------------------------


def through_the_cli(folder: Path, corpus: Path, texts: int, seed: int) -> None:
    """Ingest a file, kill the node in the middle, run the same command again."""
    rng = random.Random(seed)  # noqa: S311
    file, data = folder / "texts.jsonl", folder / "data"
    lines = corpus.read_text("utf-8").splitlines(keepends=True)
    if len(lines) < texts:
        raise SystemExit(f"error: {corpus} has {len(lines)} lines; --texts {texts} needs more (--corpus)")
    file.write_text("".join(lines[:texts]), "utf-8")
    middle = rng.randint(texts // 5, 4 * texts // 5)
    with NodeProcess(data) as node:
        ingesting = _ingest(node.url, file, folder / "first.jsonl")
        with EngramClient(node.url, timeout=60) as reader:
            while reader.status().records < middle and ingesting.poll() is None:
                time.sleep(0.01)
        node.kill()
        code = ingesting.wait(timeout=120)
    if code != FAILED:
        raise Broken(f"the ingest that lost its node ended with {code}, not {FAILED}")
    first = _cids(folder / "first.jsonl")
    living = inspect(data, sound=False)
    print(f"killed in the middle: {len(first)} of {texts} acknowledged, {living} living", flush=True)
    with NodeProcess(data) as node:
        with EngramClient(node.url, timeout=60) as reader:
            held = {record.cid for record in listed(reader, None)}
            if lost := set(first.values()) - held:
                raise Broken(f"{len(lost)} acknowledged records are lost")
            code = _ingest(node.url, file, folder / "second.jsonl").wait(timeout=600)
            second = _cids(folder / "second.jsonl")
            found = {record.cid: record.text for record in listed(reader, None)}
        node.stop()
    wanted = [json.loads(line)["text"] for line in lines[:texts]]
    if code or len(second) != texts or first.items() - second.items() or {*found} != {*second.values()}:
        raise Broken(f"the second run ended with {code}, {len(second)} of {texts} lines and {len(found)} records")
    if [found[second[line]] for line in range(1, texts + 1)] != wanted:
        raise Broken("a record has another text than its line")
    if inspect(data, sound=True) != len(found):
        raise Broken("the log holds another number of living records than are listed")
    print(f"run again: {texts} lines, {len(found)} records, each once, those of the first run among them; sound")


def _ingest(url: str, file: Path, out: Path) -> subprocess.Popen[bytes]:
    with out.open("wb") as stream:
        return subprocess.Popen([*ENGRAM, "ingest", "--file", file, "--json", "--node", url], stdout=stream)


def _cids(path: Path) -> dict[int, str]:
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return {line["line"]: line["cid"] for line in lines if "cid" in line}


def main() -> int:
    """Run what the arguments ask for; give the exit code."""
    options = _options()
    if options.client:
        client(options.client, options.notes, options.notes.stem, options.seed_text)
        return 0
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="engram-kill9-") as temporary:
        folder = options.data or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            if options.cli:
                through_the_cli(folder, options.corpus, options.texts, options.seed)
            else:
                rounds(folder, options.rounds, options.clients, options.seed, options.longest)
        except (Broken, RuntimeError) as broken:
            print(f"BROKEN: {broken} (seed {options.seed}; --data FOLDER keeps the folder)", file=sys.stderr)
            return 1
    print(f"all held, in {time.perf_counter() - started:.0f} s (seed {options.seed})")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Kill a node again and again; see that nothing acknowledged is lost.")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--longest", type=float, default=2.0, help="seconds of writing before the kill, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, help="where to work, and what to keep; an empty folder")
    parser.add_argument("--cli", action="store_true", help="ingest a file with `engram`, kill in the middle, run again")
    parser.add_argument("--texts", type=int, default=5000)
    parser.add_argument("--corpus", type=Path, default=GLOSSES, help="JSON lines, from scripts/wordnet_jsonl.py")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--notes", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed-text", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
