"""A bounded channel between two threads: put, iterate, close, abort.  No polling, no timeouts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class AbortedError(Exception):
    """Another part of the pipeline failed; the reason is raised where the pipeline is joined."""


class Channel(Generic[T]):
    """At most `bound` items wait; `put` blocks while it is full, iteration while it is empty."""

    def __init__(self, bound: int) -> None:
        if bound < 1:
            raise ValueError(f"a channel of {bound} items holds nothing")
        self._bound = bound
        self._items: deque[T] = deque()
        self._changed = Condition()
        self._closed = False
        self._aborted = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Add an item, waiting for room.  Raises AbortedError once the channel is aborted."""
        with self._changed:
            self._changed.wait_for(lambda: self._aborted or len(self._items) < self._bound)
            if self._aborted:
                raise AbortedError
            if self._closed:
                raise ValueError("put into a closed channel")
            self._items.append(item)
            self._changed.notify_all()

    def close(self) -> None:
        """No more items come; what waits is still given out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Wake everyone with AbortedError and drop what waits."""
        with self._changed:
            self._aborted = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Items in order until closed and empty.  Raises AbortedError once aborted."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._aborted or self._closed or bool(self._items))
                if self._aborted:
                    raise AbortedError
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
