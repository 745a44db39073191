"""An attribute that is made when it is first asked for, once, whichever threads ask."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, overload

T = TypeVar("T")


class Locked(Protocol):
    """An object with a lock of its own, which must be reentrant: one part may be made from another."""

    lock: threading.RLock


class locked_property(Generic[T]):
    """`functools.cached_property` under the object's ``lock``; from Python 3.12 on, that one has no lock.

    The value stands in the object's ``__dict__`` under the attribute's name, as with `functools.cached_property`.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, owner: None, kind: type[Any]) -> locked_property[T]: ...

    @overload
    def __get__(self, owner: Locked, kind: type[Any]) -> T: ...

    def __get__(self, owner: Any, kind: type[Any]) -> Any:
        if owner is None:
            return self
        with owner.lock:
            if self._name not in owner.__dict__:
                owner.__dict__[self._name] = self._make(owner)
            return owner.__dict__[self._name]
