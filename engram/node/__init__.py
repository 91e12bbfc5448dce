"""The node: its configuration, its roles, and `Service`, the one place that knows every actor."""

from engram.node._config import Config, default_toml, load_config

__all__ = ["Config", "default_toml", "load_config"]
