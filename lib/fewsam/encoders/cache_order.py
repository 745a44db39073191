"""The order in which the entries of a cache were used, as a table, so that the oldest are found without the others."""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import lmdb

TABLES = ("data", "used", "order")  # key -> entry, key -> time of its last use, time and key -> nothing
_TIME = struct.Struct("<Q")
_PLACE = struct.Struct(">Q")  # sorts as the times do; the key follows it

Tables = Mapping[str, Any]


def note_use(txn: lmdb.Transaction, tables: Tables, key: bytes, when: int) -> None:
    """Note that an entry was used at a time in nanoseconds, and give it its place in the order."""
    before = txn.get(key, db=tables["used"])
    if before is not None:
        txn.delete(_PLACE.pack(_TIME.unpack(before)[0]) + key, db=tables["order"])
    txn.put(key, _TIME.pack(when), db=tables["used"])
    txn.put(_PLACE.pack(when) + key, b"", db=tables["order"])


def forget(txn: lmdb.Transaction, tables: Tables, keys: Iterable[bytes]) -> None:
    """Remove entries, whenever they were used."""
    for key in keys:
        when = txn.get(key, db=tables["used"])
        if when is not None:
            txn.delete(_PLACE.pack(_TIME.unpack(when)[0]) + key, db=tables["order"])
            txn.delete(key, db=tables["used"])
        txn.delete(key, db=tables["data"])


def evict(txn: lmdb.Transaction, tables: Tables, count: int, stays: Callable[[bytes], bool]) -> int:
    """Remove the least recently used entries, and return how many.

    Args:
        count: How many at most.
        stays: Whether an entry is not to be removed.
    """
    victims, stale = [], []
    for place in _oldest_first(txn, tables):
        key = place[_PLACE.size :]
        when = txn.get(key, db=tables["used"])
        if when is None or _TIME.unpack(when) != _PLACE.unpack_from(place):
            stale.append(place)  # an earlier version of this program used or evicted it
        elif not stays(key):
            victims.append(place)
            if len(victims) == count:
                break
    for place in victims:
        txn.delete(place[_PLACE.size :], db=tables["data"])
        txn.delete(place[_PLACE.size :], db=tables["used"])
    for place in (*victims, *stale):
        txn.delete(place, db=tables["order"])
    return len(victims)


def _oldest_first(txn: lmdb.Transaction, tables: Tables) -> Iterator[bytes]:
    """Places of the entries in the order of their use; what is read must not be changed meanwhile."""
    used, order = tables["used"], tables["order"]
    if txn.stat(order)["entries"] != txn.stat(used)["entries"]:  # an earlier version of this program kept no order
        txn.drop(order, delete=False)
        for key, when in txn.cursor(used):
            txn.put(_PLACE.pack(_TIME.unpack(when)[0]) + bytes(key), b"", db=order)
    cursor = txn.cursor(order)
    # A time to come was written before the clock was set back: older than anything written since.
    until = _PLACE.pack(time.time_ns() + 1)
    if cursor.set_range(until):
        yield from map(bytes, cursor.iternext(keys=True, values=False))
    if cursor.first():
        yield from itertools.takewhile(until.__gt__, map(bytes, cursor.iternext(keys=True, values=False)))
