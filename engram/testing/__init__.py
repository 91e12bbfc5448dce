"""The simulated ports, and the simulation of a whole node from one seed. `docs/simulation.md`."""

from engram.testing._actors import ActorHarness, actor_harness
from engram.testing._client import AsyncClient, NoAnswer
from engram.testing._clock import SimClock
from engram.testing._disk import ShortWrite, SimDisk, SimFile
from engram.testing._duels import VALIDATOR, Fought, challenged, duel, ordeal
from engram.testing._embedder import SimEmbedder, SimModel
from engram.testing._every_call import EveryCall, crash_every_call
from engram.testing._histories import evidence_of_fork, evidence_of_rollback, forked, rolled_back
from engram.testing._loop import run_seeded
from engram.testing._losses import KeepFirst, KeepOnly, LoseAll, LoseFirst, LoseNothing, LoseSome, Loss
from engram.testing._miners import (
    Costs,
    Excusing,
    Forger,
    HashOnly,
    Junk,
    Late,
    LateAtLast,
    Lossy,
    Miner,
    OnDemand,
    ReEmbedding,
    Refusing,
    Silent,
    SilentAtLast,
)
from engram.testing._network import NetworkFaults, SimNetwork, SimStream
from engram.testing._offload import SimOffload
from engram.testing._plan import Plan, draw
from engram.testing._power import Crashed, Power
from engram.testing._rng import SimRng, stream
from engram.testing._shrink import parts_of, shrink, without
from engram.testing._simulation import Report, simulate
from engram.testing._tables import SimTables

__all__ = [
    "VALIDATOR",
    "ActorHarness",
    "AsyncClient",
    "Costs",
    "Crashed",
    "EveryCall",
    "Excusing",
    "Forger",
    "Fought",
    "HashOnly",
    "Junk",
    "KeepFirst",
    "KeepOnly",
    "Late",
    "LateAtLast",
    "LoseAll",
    "LoseFirst",
    "LoseNothing",
    "LoseSome",
    "Loss",
    "Lossy",
    "Miner",
    "NetworkFaults",
    "NoAnswer",
    "OnDemand",
    "Plan",
    "Power",
    "ReEmbedding",
    "Refusing",
    "Report",
    "ShortWrite",
    "Silent",
    "SilentAtLast",
    "SimClock",
    "SimDisk",
    "SimEmbedder",
    "SimFile",
    "SimModel",
    "SimNetwork",
    "SimOffload",
    "SimRng",
    "SimStream",
    "SimTables",
    "actor_harness",
    "challenged",
    "crash_every_call",
    "draw",
    "duel",
    "evidence_of_fork",
    "evidence_of_rollback",
    "forked",
    "ordeal",
    "parts_of",
    "rolled_back",
    "run_seeded",
    "shrink",
    "simulate",
    "stream",
    "without",
]
