"""`engram-node`: its help, `init`, `doctor`, and what a starting node says."""

from __future__ import annotations

import fcntl
import json
import re
import socket

import msgspec
import pytest
from cli.conftest import Ran

from engram.cli import _doctor as doctor
from engram.cli._doctor_check import Check
from engram.cli._doctor_report import report
from engram.cli._events import Plain, Terminal
from engram.cli._shell import run
from engram.cli.node import build
from engram.embed import FINGERPRINT
from engram.embed import _selftest as selftest
from engram.node import Config, default_toml


@pytest.fixture
def engram_node(capsys, tmp_path, monkeypatch):
    """Run `engram-node` with arguments in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: Ran(run(build(), arguments), *capsys.readouterr())


# -- usage, configuration, init ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["init"],
        ["doctor"],
        ["replay"],
        ["actors"],
        ["model"],
        ["model", "fetch"],
        ["model", "verify"],
        ["model", "path"],
    ],
)
def test_every_help_text_teaches_with_examples(engram_node, command):
    ran = engram_node(*command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert "Exit codes: 0 done" in ran.out
    assert command == ["model"] or " ".join(["engram-node", *command]) in ran.out.split("Examples:")[1]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--role", "validator"], "validators are not built yet"),
        (["--role", "king"], '--role = "king" will not do. Allowed: "miner"'),
        (["--port", "70000"], "--port = 70000 will not do"),
        (["--port", "x"], 'unable to convert "x" into int'),
        (["--config", "none.toml"], "none.toml is not there; `engram-node init none.toml` writes one"),
        (["doctro"], "did you mean doctor?"),
        (["--hots", "x"], "Did you mean --host?"),
    ],
)
def test_a_wrong_command_line_is_a_sentence_and_exits_with_2(engram_node, arguments, complaint):
    ran = engram_node(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert complaint in ran.err


def test_the_file_of_the_working_folder_is_read(engram_node, tmp_path):
    (tmp_path / "node.toml").write_text("prot = 1")
    ran = engram_node()
    assert ran.code == 2
    assert "node.toml, line 1: prot is not a key of a node; did you mean port?" in ran.err


def test_init_writes_the_defaults_and_nothing_over_a_file(engram_node, tmp_path):
    assert engram_node("init").code == 0
    file = tmp_path / "node.toml"
    assert file.read_text("utf-8") == default_toml()
    file.write_text("mine")
    ran = engram_node("init")
    assert ran.code == 2
    assert "node.toml is there already; --force writes over it" in ran.err
    assert file.read_text() == "mine"
    assert engram_node("init", "--force").code == 0
    assert file.read_text("utf-8") == default_toml()


def test_init_into_a_folder_that_is_not_there_names_it(engram_node):
    ran = engram_node("init", "no/such/node.toml")
    assert (ran.code, ran.err) == (1, "error: no/such/node.toml: No such file or directory\n")


# -- doctor -----------------------------------------------------------------------------------------------------------


def at(tmp_path, **changes):
    return msgspec.structs.replace(Config(data_dir=tmp_path / "data"), **changes)


def test_a_new_folder_is_well_and_stays_unmade(tmp_path):
    for check in (doctor.check_folder, doctor.check_space, doctor.check_disk):
        assert check(at(tmp_path)).state in ("ok", "warn")
    assert doctor.check_folder(at(tmp_path)).found == f"{tmp_path}/data, new"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "state", "found"),
    [
        (b'{"format": 1, "writer": "x"}\n', "ok", "format 1"),
        (b'{"format": 2, "writer": "x"}\n', "fail", "format 2"),
        (b"", "fail", "cannot be read"),
        (b'{"format": "1"}\n', "fail", "cannot be read"),
        (b"[]\n", "fail", "cannot be read"),
    ],
)
def test_the_format_of_a_folder_is_judged(tmp_path, content, state, found):
    (tmp_path / "FORMAT").write_bytes(content)
    check = doctor.check_folder(at(tmp_path, data_dir=tmp_path))
    assert check.state == state
    assert found in check.found


def test_a_folder_that_is_open_names_its_holder(tmp_path):
    (tmp_path / "pid").write_text("4711\n")
    with (tmp_path / "FORMAT").open("w+") as file:
        file.write('{"format": 1, "writer": "x"}\n')
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        check = doctor.check_folder(at(tmp_path, data_dir=tmp_path))
    assert check == Check("data folder", "ok", f"{tmp_path}, format 1, open in process 4711")


def test_a_file_in_the_place_of_the_folder_fails(tmp_path):
    (tmp_path / "data").write_text("")
    check = doctor.check_folder(at(tmp_path))
    assert (check.state, check.found) == ("fail", f"{tmp_path}/data is not a folder")


def test_a_free_port_is_well():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert doctor.check_port(Config(port=port)).state == "ok"
    assert doctor.check_port(Config(port=0)).state == "ok"


def test_the_port_of_http_is_judged_too():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        other.settimeout(0)
        port = other.getsockname()[1]
        for check in (doctor.check_http_port(Config(http_port=port)), doctor.check_port(Config(port=port))):
            assert check.state == "fail"
            assert "in use, and no node answers" in check.found
            assert check.advice in ("take another: --http-port", "take another: --port")
    assert doctor.check_http_port(Config(http_port=port)).state == "ok"
    assert doctor.check_http_port(Config(http_port=-1)).found == "no HTTP (http_port = -1)"
    assert "RPC too" in doctor.check_http_port(Config(port=9000, http_port=9000)).found


def test_the_embedder_shows_kernel_fingerprint_and_self_test(model_files, tmp_path, monkeypatch):
    check = doctor.check_embedder(at(tmp_path))
    assert check.state in ("ok", "warn")
    assert re.fullmatch(
        rf"v1, (AVX-512|AVX2|NEON|scalar) kernel, self-test passed, fingerprint {FINGERPRINT[:16]}…", check.found
    )
    monkeypatch.setattr(selftest, "GOLDEN", dict.fromkeys(selftest.GOLDEN, "0" * 64))
    check = doctor.check_embedder(at(tmp_path))
    assert check.state == "fail"
    assert "failed its self-test" in check.found


def test_the_index_shows_its_kernel_and_the_planners_constants(tmp_path, monkeypatch):
    monkeypatch.setenv("ENGRAM_KERNEL", "scalar")
    check = doctor.check_index(at(tmp_path))
    assert check.state == "warn"
    assert check.found == (
        "scalar kernel; exact up to 20,000 rows; beyond, fast from 64 numbers a vector, where 0.995 of the nearest "
        "stand among 400 to 3,200 rows by sign; tested every 16,384 rows"
    )
    monkeypatch.delenv("ENGRAM_KERNEL")
    assert re.match(r"(AVX-512|AVX2|NEON|scalar) kernel; exact up to", doctor.check_index(at(tmp_path)).found)
    monkeypatch.setenv("ENGRAM_KERNEL", "mmx")
    assert doctor.check_index(at(tmp_path)).state == "fail"


def test_an_embedder_without_its_model_is_a_warning_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("engram.embed.find_model", lambda _: None)
    check = doctor.check_embedder(at(tmp_path))
    assert (check.state, check.advice) == ("warn", "fetch it: `engram model fetch`")


def test_what_cannot_be_imported_fails_its_check_alone(tmp_path, monkeypatch):
    def broken(config):
        raise ImportError("no native core")

    monkeypatch.setattr(doctor, "CHECKS", {"python": doctor.check_python, "model": broken})
    python, model = doctor.examine(at(tmp_path))
    assert (python.state, model.state) == ("ok", "fail")
    assert "no native core" in model.found


CHECKS = [
    Check("python", "ok", "3.11"),
    Check("disk sync", "warn", "90 ms\x1b[2J", "slow"),
    Check("port", "fail", "8090 is taken", "take another with --port"),
]


def test_the_report_as_json_has_every_check():
    assert json.loads(report(CHECKS, as_json=True, terminal=True))["checks"][1] == {
        "name": "disk sync", "state": "warn", "found": "90 ms\x1b[2J", "advice": "slow",
    }  # fmt: skip


def test_the_report_in_a_pipe_is_a_line_a_check():
    assert report(CHECKS, as_json=False, terminal=False) == (
        "ok\tpython\t3.11\nwarn\tdisk sync\t90 ms\\x1b[2J\tslow\nfail\tport\t8090 is taken\ttake another with --port"
    )


def test_the_report_on_a_terminal_says_what_to_do():
    drawn = report(CHECKS, as_json=False, terminal=True)
    assert "→ take another with --port" in drawn
    assert "\x1b" not in drawn


# -- events -----------------------------------------------------------------------------------------------------------

EVENTS = [
    ("opened", {"records": 4980, "position": 5021, "seconds": 0.124}),
    ("listening", {"url": "engram://127.0.0.1:9000"}),
    *(("model_progress", {"source": "hub", "done": done, "total": 1000}) for done in (0, 50, 99, 100, 1000)),
    ("model_ready", {"seconds": 0.18, "kernel": "avx2"}),
    ("of_a_newer_node", {"x": 1}),
    ("model_failed", {"message": "no route \x1b[2J"}),
    ("stopping", {}),
    ("stopped", {}),
]


def test_events_in_a_pipe_are_plain_lines(capsys):
    show = Plain()
    for event, facts in EVENTS:
        show(event, facts)
    assert capsys.readouterr().out.splitlines() == [
        "opened: 4,980 records, 5,021 events, in 124 ms",
        "listening: engram://127.0.0.1:9000",
        "fetching the model: 0 B of 1000 B from hub",
        "fetching the model: 100 B of 1000 B from hub",
        "fetching the model: 1000 B of 1000 B from hub",
        "model ready: in 180 ms, avx2 kernel",
        "model failed: no route \\x1b[2J",
        "stopping",
        "stopped",
    ]


def test_the_bar_of_a_model_names_the_source_that_gives_it(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    show = Terminal(Config(data_dir=tmp_path), None)
    for source, done in (("one", 0), ("another", 0), ("another", 1000)):
        show("model_progress", {"source": source, "done": done, "total": 1000})
    show("stopping", {})
    assert "model from another" in capsys.readouterr().err


def test_events_on_a_terminal_draw_a_banner(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    show = Terminal(Config(data_dir=tmp_path), None)
    for event, facts in [*EVENTS[:1], ("listening", EVENTS[1][1] | {"node_key": "5FHneW"}), *EVENTS[2:]]:
        show(event, facts)
    out, err = capsys.readouterr()
    for part in (
        "engram node",
        "engram://127.0.0.1:9000",
        str(tmp_path),
        "5FHneW",
        "4,980 records",
        "--node engram://",
    ):
        assert part in out
    assert "model failed: no route \\x1b[2J" in err
