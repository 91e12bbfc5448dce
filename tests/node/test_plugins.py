"""Plug-ins: loaded because they are named, checked before anything runs, started beside the node, never its end."""

# ruff: noqa: ASYNC110 - a node's threads are waited for from outside

from __future__ import annotations

import importlib
import sys

import pytest
import trio
from node.plugins_for_tests import Counter, HowMany

import engram
from engram.errors import BadRequest, EngramError, NotFound, Unavailable
from engram.node import Config, real_world, running
from engram.node._actor_config import actors_of
from engram.node._plugins import load_plugins
from engram.runtime import Message
from engram.wire import Actors, Delete, Put

HERE = "node.plugins_for_tests"


def specs(**tables):
    return actors_of(tables, lambda key: f"node.toml: {key}")


def refusal(**tables):
    with pytest.raises(BadRequest) as caught:
        load_plugins(specs(**tables))
    assert "\n" not in caught.value.message
    return caught.value.message


# -- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (3, "node.toml: actors.census = 3 will not do. Allowed: tables"),
        ({}, "node.toml: actors.census: give either class or plugin"),
        ({"class": "a:B", "plugin": "b"}, "give either class or plugin"),
        ({"class": "a.b"}, 'node.toml: actors.census.class = "a.b" will not do. Allowed: "package.module:Class"'),
        ({"class": 5}, "actors.census.class = 5 will not do"),
        ({"plugin": " "}, 'actors.census.plugin = " " will not do'),
    ],
)
def test_a_bad_table_is_refused_by_key(table, says):
    with pytest.raises(BadRequest) as caught:
        specs(census=table)
    assert says in caught.value.message


@pytest.mark.parametrize("name", ["store", "embedder", "", "../up", "a b", "x" * 33, 7])
def test_a_bad_name_is_refused(name):
    with pytest.raises(BadRequest, match="will not do as a name"):
        actors_of({name: {"class": "a:B"}}, str)


# -- loading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"class": "no_such_module:X"}, "no_such_module:X needs the module no_such_module, which this Python does not"),
        ({"class": f"{HERE}:Missing"}, f"the module {HERE} has no Missing"),
        ({"class": f"{HERE}:NUMBER"}, "7 is not a subclass of engram.runtime.Plugin"),
        ({"class": f"{HERE}:NoPlugin"}, "NoPlugin is not a subclass of engram.runtime.Plugin"),
        ({"plugin": "nobody"}, "no installed package has an entry point 'nobody' in the group engram.actors"),
        ({"class": f"{HERE}:Plain", "x": 1}, "Plain takes no options, and x came"),
        ({"class": f"{HERE}:Counter", "at_mots": 1}, "a.at_mots is no option of Counter; it takes at_most, words"),
        ({"class": f"{HERE}:Counter", "at_most": "1"}, "a.at_most will not do for Counter: Expected `int`, got `str`"),
        ({"class": f"{HERE}:Counter", "words": ["a", 1]}, "a.words[1] will not do for Counter: Expected `str`"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_a_sentence(table, says):
    assert says in refusal(a=table)


def test_a_module_that_fails_is_said(tmp_path, monkeypatch):
    (tmp_path / "falls_over.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    assert "importing falls_over fails with ZeroDivisionError" in refusal(a={"class": "falls_over:X"})
    (tmp_path / "half_there.py").write_text("import not_there_at_all")
    assert "needs the module not_there_at_all" in refusal(a={"class": "half_there:X"})


def test_a_class_whose_folds_will_not_do_is_said(tmp_path, monkeypatch):
    (tmp_path / "no_state.py").write_text(
        "from engram.runtime import Plugin, apply\n"
        "from engram.events import RecordStored\n"
        "class X(Plugin):\n    @apply\n    def f(self, event: RecordStored, position: int) -> None: ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "X folds events and has no `State`" in refusal(a={"class": "no_state:X"})


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package that offers entry points, as a wheel would install it."""

    def install(**points):
        folder = tmp_path / "census-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: census\nVersion: 1.0\n")
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (folder / "entry_points.txt").write_text(f"[engram.actors]\n{lines}")
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()

    return install


def test_an_entry_point_is_loaded_by_its_name(installed):
    installed(census=f"{HERE}:Counter", other="nowhere:X")
    [loaded] = load_plugins(specs(mine={"plugin": "census", "at_most": 5}))
    assert (loaded.name, loaded.kind.__name__, loaded.options.at_most) == ("mine", "Counter", 5)
    assert "there are: census, other" in refusal(mine={"plugin": "censsus"})


def test_what_is_installed_and_not_named_is_never_loaded(installed, tmp_path):
    (tmp_path / "would_run.py").write_text("raise SystemExit")
    installed(evil="would_run:X")
    assert load_plugins({}) == []
    assert "would_run" not in sys.modules


# -- a node with plug-ins ---------------------------------------------------------------------------------------------


def config(path, **tables):
    return Config(data_dir=path / "data", actors=specs(**tables))


async def reports(service):
    answer = await service.call(Actors())
    return {actor.name: actor for actor in answer.actors}, answer


async def test_a_plugin_follows_the_nodes_writes_and_calls_it(tmp_path):
    table = {"class": f"{HERE}:Counter", "at_most": 1}
    async with running(config(tmp_path, counter=table), real_world()) as service:
        first = await service.call(Put(vector=[0.5] * 384))
        await service.call(Delete(cid=first.cid))
        with trio.fail_after(10):
            while (await reports(service))[1].position < 4:
                await trio.sleep(0.01)
        with trio.fail_after(10):
            while (found := (await reports(service))[0]["counter"]).reacted != 4:
                await trio.sleep(0.01)
        assert (found.applied, found.state, found.essential) == (4, "running", False)
    assert sorted(path.name for path in (tmp_path / "data" / "projections").iterdir()) == [
        "counter.cursor",
        "counter.snapshot",
    ]


async def test_a_plugin_that_keeps_crashing_is_given_up_and_the_node_lives(tmp_path):
    async with running(
        config(tmp_path, broken={"class": f"{HERE}:Broken"}, ok={"class": f"{HERE}:Counter"}), real_world()
    ) as service:
        await service.call(Put(vector=[0.5] * 384))
        with trio.fail_after(60):
            while (await reports(service))[0]["broken"].state != "failed":
                await trio.sleep(0.05)
        assert (await service.call(Put(vector=[0.25] * 384, metadata={"n": 1}))).created
        found, _ = await reports(service)
        assert found["ok"].state == "running"
        assert "RuntimeError" in found["broken"].last_error
        assert "words" not in found["broken"].last_error
    async with running(config(tmp_path, ok={"class": f"{HERE}:Counter"}), real_world()) as service:
        assert (await reports(service))[0]["ok"].state in {"starting", "running"}


async def test_a_circle_of_plugins_is_refused_at_boot_and_the_folder_is_free_again(tmp_path):
    tables = {"asks": {"class": f"{HERE}:Asks"}, "asked": {"class": f"{HERE}:Asked"}}
    with pytest.raises((EngramError, BaseExceptionGroup)) as caught:
        async with running(config(tmp_path, **tables), real_world()):
            pass
    assert "asks -> asked -> asks" in str(caught.getrepr())
    async with running(config(tmp_path), real_world()) as service:
        names = [actor.name for actor in (await service.call(Actors())).actors]
        assert names[0] == "store"
        assert not {"asks", "asked"} & set(names)


async def test_no_plugin_may_have_the_name_of_an_actor_of_the_nodes_own(tmp_path):
    """`[actors.scrubber]` was taken for a name like any other, and ended the node at boot with a ValueError."""
    async with running(config(tmp_path), real_world()) as service:
        own = [actor.name for actor in (await service.call(Actors())).actors]
    assert "scrubber" in own
    for name in own:
        with pytest.raises(BadRequest, match="which are the node's own"):
            actors_of({name: {"class": "a:B"}}, str)


async def test_a_plugin_that_cannot_be_made_is_said_in_a_sentence(tmp_path):
    with pytest.raises(
        BadRequest, match=r"actors\.unmade: making a Unmade fails with ValueError: no luck; .* on_start"
    ):
        async with running(config(tmp_path, unmade={"class": f"{HERE}:Unmade"}), real_world()):
            pass


class Unasked(Message[int], frozen=True):
    pass


def test_an_embedded_memory_takes_plugins_by_class(tmp_path):
    with engram.open(tmp_path / "m", actors={"counter": {"class": Counter, "at_most": 0}}) as memory:
        for number in range(5):
            memory.ingest_embedding([1.0] * 384, {"n": number})
            assert memory.ask("counter", HowMany()) == number + 1
        with pytest.raises(NotFound, match=r"no plug-in .store. here; there are: counter"):
            memory.ask("store", HowMany())
        with pytest.raises(TypeError, match=r"counter.*Unasked"):
            memory.ask("counter", Unasked())
        found = memory.actors()
        assert [actor.name for actor in found.actors][:: len(found.actors) - 1] == ["store", "counter"]
        assert found.position == 6
        assert found.dead_letters == []
    with pytest.raises(Unavailable, match="closed"):
        memory.ask("counter", HowMany())
