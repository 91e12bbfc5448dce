"""What a door counts over all its connections, and who is let go where that is too much."""

import pytest
from dict_service import DictService

from engram.gateway import RpcSettings
from engram.gateway._door import Door
from engram.limits import LIMITS
from engram.runtime import RealRng


class Reader:
    def __init__(self, *, near):
        self.near, self.unsent_bytes, self.gone = near, 0, False

    def give_up(self):
        self.gone = True


@pytest.fixture
def door():
    return Door(DictService(), LIMITS, RpcSettings(unsent_bytes=100), RealRng())


def test_who_has_most_unread_is_let_go(door):
    little, much = Reader(near=True), Reader(near=True)
    door.unsent(little, 40)
    door.unsent(much, 61)
    assert (little.gone, much.gone) == (False, True)


def test_strangers_that_do_not_read_are_let_go_before_who_is_on_this_machine(door):
    strangers, near = [Reader(near=False) for _ in range(4)], Reader(near=True)
    for number, stranger in enumerate(strangers):
        door.unsent(stranger, 10 + number)
    door.unsent(near, 60)
    assert [reader.gone for reader in (*strangers, near)] == [False, False, False, True, False]


def test_strangers_may_not_fill_what_a_door_holds(door):
    most = door.settings.held_bytes
    assert (door.holds(most, near=False), door.holds(most * 7 // 8, near=False)) == (False, True)
    assert (door.holds(most, near=True), door.holds(most + 1, near=True)) == (True, False)
    assert str(most * 7 // 8) in door.busy(near=False).message
