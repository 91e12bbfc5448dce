"""`engram`: keep memories and find them again, from the shell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cyclopts import App

from engram.cli._commands import Commands
from engram.cli._completion import add_completion
from engram.cli._export import Export
from engram.cli._feed import Feed
from engram.cli._import import Import
from engram.cli._ingest import Ingest
from engram.cli._key import Keys
from engram.cli._model import model_app
from engram.cli._namespace import Namespaces
from engram.cli._prove import Prove
from engram.cli._reindex import Reindex
from engram.cli._shell import EXIT_CODES, epilogue, run
from engram.cli._status import Status
from engram.cli._target import open_target
from engram.cli._text import paragraphs
from engram.cli._verify import verify
from engram.cli._version import version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engram.cli._target import Opener

_ABOUT = """Verifiable memory for AI agents: keep texts, find them by meaning, name them by their content.

Commands ask a node that runs (start one with `engram-node`), or open a data folder themselves with --data."""

_START = """Start here:
  engram ingest "The transformer architecture changed everything."
  engram query "how does attention work?"
  engram status

"""

_INGEST = (
    'engram ingest "Water boils at 100 °C." --meta \'{"source": "notes"}\'',
    "engram ingest - < letter.txt",
    'engram ingest "The second draft." --key draft --expect v1::3f1c…',
    "engram ingest --file corpus.jsonl",
    "zcat corpus.jsonl.gz | engram ingest --file - --json",
)
_QUERY = (
    'engram query "how does attention work?" -k 5',
    'engram query "small furry pets" --filter \'pos = "noun"\'',
    "engram query \"small furry pets\" --json | jq -r '.hits[].cid'",
    'engram query "small furry pets" --exact --explain',
)
_NAMESPACE_CREATE = (
    "engram namespace create notes",
    "engram namespace create letters --model mpnet",
    "engram namespace create clips --dim 512 --model clip/b32",
)
_EXPORT = (
    "engram export memories.jsonl",
    "engram export - --filter 'source = \"notes\"' | gzip > notes.jsonl.gz",
    "engram export clips.jsonl --namespace clips --vectors",
)
_IMPORT = (
    "engram import memories.jsonl",
    "zcat notes.jsonl.gz | engram import - --json",
    "engram import clips.jsonl --namespace clips",
)
_PROVE = (
    "engram prove v1::3f1c… > proof.json && engram verify proof.json",
    "engram prove --key doc-17 --out proof.json",
)
_EVENTS = (
    "engram events --since 5021",
    "engram events --follow --types record_stored key_set --json",
)
_VERIFY = (
    "engram verify proof.json --node 5C9T…",
    "curl -s 'http://127.0.0.1:8091/v1/proof?cid=v1::3f1c…' | engram verify -",
    "engram verify engram-data/evidence/*/invalid-*.json --json",
)
_REINDEX = (
    "engram reindex notes --model mpnet --into notes-mpnet > map.tsv",
    "engram reindex letters --into letters-v1 --json",
)


def main() -> None:
    """Run `engram` with the arguments of this process, and exit."""
    sys.exit(run_user(sys.argv[1:]))


def run_user(arguments: Sequence[str], opener: Opener = open_target) -> int:
    """Run `engram` and give its exit code; `opener` gives the commands what they talk to."""
    return run(build(opener), arguments)


def build(opener: Opener) -> App:
    """Give the command line: every command, its help and its examples."""
    app = App(
        name="engram",
        help=_ABOUT,
        help_epilogue=_START + EXIT_CODES,
        help_format="plaintext",
        version=version,
        suppress_keyboard_interrupt=False,
    )
    commands = Commands(opener)
    ingest = Ingest(opener).ingest
    _add(app, ingest, _INGEST, usage="Usage: engram ingest [OPTIONS] TEXT | - | --file FILE")
    _add(app, commands.query, _QUERY)
    _add(app, commands.get, ("engram get v1::3f1c… --json", "engram get sha256:9b74…"))
    _add(app, commands.list, ("engram list --limit 20 --offset 40", "engram list --filter 'source = \"notes\"'"))
    _add(app, commands.delete, ("engram delete v1::3f1c…", "engram delete v1::3f1c… --erase"))
    _add(app, Status(opener).status, ("engram status", "engram status --watch", "engram status --json | jq .records"))
    _add(app, commands.embed, ('engram embed "a text" --json | jq .dim', 'engram embed "a text" --model mpnet'))
    namespace = _group(app, "namespace", "Create, list and delete namespaces.")
    namespaces = Namespaces(opener)
    _add(namespace, namespaces.create, _NAMESPACE_CREATE)
    _add(namespace, namespaces.list, ("engram namespace list",))
    _add(namespace, namespaces.delete, ("engram namespace delete clips", "engram namespace delete clips --erase --yes"))
    key = _group(app, "key", "Names that stand for one memory after another.")
    keys = Keys(opener)
    _add(key, keys.set, ("engram key set doc-17 v1::3f1c…", "engram key set doc-17 v1::3f1c… --expect v1::9b74…"))
    _add(key, keys.get, ("engram key get doc-17", "engram key get doc-17 --json | jq -r .record.text"))
    _add(key, keys.list, ("engram key list", "engram key list --prefix doc-"))
    _add(key, keys.history, ("engram key history doc-17",))
    _add(key, keys.delete, ("engram key delete doc-17",))
    _add(app, Prove(opener).prove, _PROVE, usage="Usage: engram prove [OPTIONS] CID | --key KEY")
    _add(app, Export(opener).export, _EXPORT, usage="Usage: engram export [OPTIONS] [FILE | -]")
    _add(app, Import(opener).import_, _IMPORT, name="import", usage="Usage: engram import [OPTIONS] FILE | -")
    _add(app, Feed(opener).events, _EVENTS)
    _add(app, verify, _VERIFY, usage="Usage: engram verify [OPTIONS] FILE... | -")
    _add(app, Reindex(opener).reindex, _REINDEX)
    app.command(model_app("engram", sort_key=len(list(app))))
    add_completion(app)
    return app


def _group(app: App, name: str, about: str) -> App:
    group = App(name=name, help=about, help_epilogue=EXIT_CODES, sort_key=len(list(app)))
    app.command(group)
    return group


def _add(app: App, command: Callable[..., int], examples: Sequence[str], **settings: str) -> None:
    app.command(
        command,
        help=paragraphs(command.__doc__ or ""),
        help_epilogue=epilogue(examples),
        sort_key=len(list(app)),
        **settings,
    )
