"""Actors, their supervisor, and the real ports."""

from engram.runtime._actor import Actor, Mailbox, Message, Ref, Stats, handle, handle_batch
from engram.runtime._disk import RealDisk, RealFile
from engram.runtime._failures import described, leaf
from engram.runtime._gather import gather
from engram.runtime._log import Log
from engram.runtime._network import RealNetwork
from engram.runtime._supervisor import RestartPolicy, Supervisor
from engram.runtime._world import RealClock, RealRng, RealTables, Threads, raise_descriptor_limit

__all__ = [
    "Actor",
    "Log",
    "Mailbox",
    "Message",
    "RealClock",
    "RealDisk",
    "RealFile",
    "RealNetwork",
    "RealRng",
    "RealTables",
    "Ref",
    "RestartPolicy",
    "Stats",
    "Supervisor",
    "Threads",
    "described",
    "gather",
    "handle",
    "handle_batch",
    "leaf",
    "raise_descriptor_limit",
]
