"""`engram-node`: run a node, write its configuration, look after what it needs."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from engram.cli._actors import actors
from engram.cli._audit import audit
from engram.cli._challenge import challenge
from engram.cli._challenges import challenges
from engram.cli._completion import add_completion
from engram.cli._model import ModelDir, model_app
from engram.cli._replay import replay
from engram.cli._shell import FAILED, OK, epilogue, run, say
from engram.cli._text import paragraphs, printable
from engram.cli._tiles import export
from engram.cli._version import version

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ConfigFile = Annotated[
    Path | None, Parameter(help="Configuration file. Left out: node.toml of the working folder, if it is there.")
]
Port = Annotated[int | None, Parameter(help="Port to listen at; 0 takes a free one. [default: 8090]")]
HttpPort = Annotated[int | None, Parameter(help="Port for HTTP; -1: no HTTP. [default: 8091]")]
Data = Annotated[Path | None, Parameter(help="Data folder, made if it is not there. [default: ./engram-data]")]
Json = Annotated[bool, Parameter(name="--json", help="Print JSON for a program.", negative="", show_default=False)]

_RUN = """Run an Engram node: it keeps memories, finds them by meaning, and answers `engram` and the SDK.

The first start makes the data folder with the node's key, and fetches the embedding model (87 MiB) into your cache.
Ctrl-C, or SIGTERM, stops it; what was acknowledged is on the disk."""
_RUN_EXAMPLES = (
    "engram-node",
    "engram-node --role miner --data ~/memories --port 9000",
    "engram-node init && engram-node",
)

_REPLAY_EXAMPLES = (
    "engram-node replay ./engram-data",
    "engram-node replay ./engram-data --events record_stored record_deleted --json",
    "engram-node replay /srv/engram/data --follow",
)
_CHALLENGE_EXAMPLES = (
    "engram-node challenge engram://127.0.0.1:8090 -m 64",
    "engram-node challenge engram://5F…@10.0.0.2:8090 --data ~/memories --save transcript.json",
    "engram-node challenge engram://127.0.0.1:8090 --cid v1::3f1c… --json | jq .verdict",
)
_AUDIT_EXAMPLES = (
    "engram-node audit ./engram-data",
    "engram-node audit /backup/engram --checkpoint kept/00000000000000001200 --json",
    "engram-node audit memory.engram --node-key 5C9TqVEs5Q51zUdjvp6tSsjHAfLseJKq1Dq6ULcuSLqEuRSf",
)
_EXPORT_EXAMPLES = (
    "engram-node export ./engram-data ./log",
    "engram-node export /srv/engram/data /srv/www/log --json",
)


def main() -> None:
    """Run `engram-node` with the arguments of this process, and exit."""
    sys.exit(run(build(), sys.argv[1:]))


def build() -> App:
    """Give the command line: every command, its help and its examples."""
    app = App(
        name="engram-node",
        help=paragraphs(_RUN),
        help_epilogue=epilogue(_RUN_EXAMPLES),
        help_format="plaintext",
        version=version,
        suppress_keyboard_interrupt=False,
    )
    app.default(run_node)
    _add(app, init, ("engram-node init", "engram-node init /etc/engram/node.toml --force"))
    _add(app, doctor, ("engram-node doctor", "engram-node doctor --config /etc/engram/node.toml --json"))
    _add(app, actors, ("engram-node actors", "engram-node actors --node engram://127.0.0.1:9000 --json"))
    _add(app, replay, _REPLAY_EXAMPLES)
    _add(app, challenge, _CHALLENGE_EXAMPLES)
    _add(app, challenges, ("engram-node challenges", "engram-node challenges --json | jq .nodes"))
    _add(app, audit, _AUDIT_EXAMPLES)
    _add(app, export, _EXPORT_EXAMPLES)
    app.command(model_app("engram-node", sort_key=len(list(app))))
    add_completion(app)
    return app


def run_node(
    *,
    role: Annotated[str | None, Parameter(help="What the node does: miner (validator is not built yet).")] = None,
    config: ConfigFile = None,
    host: Annotated[str | None, Parameter(help="Address to listen at, on this machine. [default: 127.0.0.1]")] = None,
    port: Port = None,
    http_port: HttpPort = None,
    data: Data = None,
    model_dir: ModelDir = None,
) -> int:
    """Run the node until it is told to stop."""
    from engram.cli._config_file import configure
    from engram.cli._env_file import say_what_is_not_applied

    flags = {"role": role, "host": host, "port": port, "http_port": http_port, "data_dir": data, "model_dir": model_dir}
    settings, file = configure(config, flags)
    say_what_is_not_applied()

    import trio

    import engram.node
    from engram.cli._events import announcer
    from engram.cli._logging import configure_logging

    configure_logging(settings)
    trio.run(partial(engram.node.run, settings, on_event=announcer(settings, file)))
    return OK


def init(
    path: Annotated[Path, Parameter(help="File to write.")] = Path("node.toml"),
    /,
    *,
    force: Annotated[bool, Parameter(help="Write over a file that is there.", negative="", show_default=False)] = False,
) -> int:
    """Write a node.toml with every key, its default, and what it means."""
    from engram.cli._config_file import write_default

    write_default(path, force=force)
    say(f"wrote {printable(str(path))}: every key at its default, with what it means")
    return OK


def doctor(
    *,
    config: ConfigFile = None,
    host: Annotated[str | None, Parameter(help="Address to look at. [default: 127.0.0.1]")] = None,
    port: Port = None,
    http_port: HttpPort = None,
    data: Data = None,
    model_dir: ModelDir = None,
    json: Json = False,
) -> int:
    """Check what a node needs, and say what to do where something is amiss.

    Looks at Python and what `import engram` gives, the platform, the native core, the data folder and its disk, the
    clock, the environment, the ports and the models, and changes nothing. The exit code is 1 if a check fails;
    warnings do not count.
    """
    from engram.cli._config_file import configure
    from engram.cli._doctor import examine
    from engram.cli._doctor_report import report

    flags = {"host": host, "port": port, "http_port": http_port, "data_dir": data, "model_dir": model_dir}
    settings, _ = configure(config, flags)
    checks = examine(settings)
    say(report(checks, as_json=json, terminal=sys.stdout.isatty()))
    return FAILED if any(check.state == "fail" for check in checks) else OK


def _add(app: App, command: Callable[..., int], examples: Sequence[str]) -> None:
    app.command(
        command, help=paragraphs(command.__doc__ or ""), help_epilogue=epilogue(examples), sort_key=len(list(app))
    )
