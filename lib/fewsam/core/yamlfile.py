"""YAML files that people write and pass around: read within bounds, as plain values alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from fewsam.core.errors import ConfigError

MAX_BYTES = 1 << 18
MAX_NODES = 100_000  # aliases written out: nine lines of them make a billion
MAX_DEPTH = 50


def read_yaml(path: Path, what: str) -> Any:
    """The value of a YAML file.

    Args:
        what: what the file is, for the message.

    Raises:
        ConfigError: it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            body = file.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise ConfigError(f"{what} {path} is larger than {MAX_BYTES} bytes; split it")
        loader = yaml.SafeLoader(body.decode("utf-8-sig"))
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _weight(node, {}, 0) > MAX_NODES:
                raise ConfigError(f"{what} {path} repeats itself by aliases beyond all bounds; write it out")
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except ConfigError:
        raise
    except RecursionError:
        raise ConfigError(f"{what} {path} is nested deeper than {MAX_DEPTH} levels; flatten it") from None
    except (OSError, yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        # Beside its own kinds yaml raises those of the types it builds, as for the date 2001-99-99.
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{what} {path} is not valid YAML: {reason}; mend it") from None


def _weight(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """Nodes below ``node`` with every alias written out.

    Raises:
        RecursionError: nested too deeply, or an alias of itself.
    """
    if depth > MAX_DEPTH:
        raise RecursionError
    if id(node) not in known:
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            parts = node.value
        known[id(node)] = 1 + sum(_weight(part, known, depth + 1) for part in parts)
    return known[id(node)]
