"""The node: its configuration, `Service`, the doors' one rule book, and the embedded memory."""

from engram.node._actor_config import ActorSpec
from engram.node._async import AsyncMemory
from engram.node._challenge_config import ChallengeSpec, Peer, peer_of
from engram.node._challenging import Challenged, Terms, challenge
from engram.node._config import Config, default_toml, load_config, variable, variables
from engram.node._embedded import Memory
from engram.node._env_file import EnvFile, NotApplied, env_file
from engram.node._node import World, main, real_world, run, running
from engram.node._open import open_memory, open_memory_async
from engram.node._places import Place
from engram.node._service import NodeService

__all__ = [
    "ActorSpec",
    "AsyncMemory",
    "ChallengeSpec",
    "Challenged",
    "Config",
    "EnvFile",
    "Memory",
    "NodeService",
    "NotApplied",
    "Peer",
    "Place",
    "Terms",
    "World",
    "challenge",
    "default_toml",
    "env_file",
    "load_config",
    "main",
    "open_memory",
    "open_memory_async",
    "peer_of",
    "real_world",
    "run",
    "running",
    "variable",
    "variables",
]
