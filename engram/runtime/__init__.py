"""Actors, their supervisor, and the real ports."""

from engram.runtime._actor import Actor
from engram.runtime._buffer import Buffer
from engram.runtime._context import Context
from engram.runtime._dead_letters import DeadLetter
from engram.runtime._disk import RealDisk, RealFile
from engram.runtime._event_actor import EventActor, check_actor
from engram.runtime._failures import described, leaf
from engram.runtime._gather import gather
from engram.runtime._handlers import handle, handle_batch
from engram.runtime._life import ActorReport, RestartPolicy
from engram.runtime._log import Log
from engram.runtime._mailbox import Mailbox, Stats
from engram.runtime._marks import apply, react
from engram.runtime._memory import MemoryDisk, MemoryFile, MemoryTables
from engram.runtime._message import Crashed, Message, Restarted, Stopped
from engram.runtime._network import RealNetwork
from engram.runtime._plugin import PLUGIN_LANE, Node, Plugin, options_of
from engram.runtime._projection import Feed
from engram.runtime._read_only import ReadOnlyDisk
from engram.runtime._ref import Ref
from engram.runtime._snapshot import Folded, folded_files
from engram.runtime._supervisor import Plan, Supervisor
from engram.runtime._tail import LANE, Follower, Tail
from engram.runtime._world import RealClock, RealRng, RealTables, Threads, raise_descriptor_limit

__all__ = [
    "LANE",
    "PLUGIN_LANE",
    "Actor",
    "ActorReport",
    "Buffer",
    "Context",
    "Crashed",
    "DeadLetter",
    "EventActor",
    "Feed",
    "Folded",
    "Follower",
    "Log",
    "Mailbox",
    "MemoryDisk",
    "MemoryFile",
    "MemoryTables",
    "Message",
    "Node",
    "Plan",
    "Plugin",
    "ReadOnlyDisk",
    "RealClock",
    "RealDisk",
    "RealFile",
    "RealNetwork",
    "RealRng",
    "RealTables",
    "Ref",
    "RestartPolicy",
    "Restarted",
    "Stats",
    "Stopped",
    "Supervisor",
    "Tail",
    "Threads",
    "apply",
    "check_actor",
    "described",
    "folded_files",
    "gather",
    "handle",
    "handle_batch",
    "leaf",
    "options_of",
    "raise_descriptor_limit",
    "react",
]
