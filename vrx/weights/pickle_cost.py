"""Cost of hashing the keys of a pickled file, computed without loading it.

A tuple hashes its members each time it is hashed.  Tuples that name one another twice, 34 deep, fill half a
kilobyte and take 2^34 steps in one call that no signal ends.  So the program is followed as far as its stack
goes, with every value but tuples, lists and dictionaries as an opaque one, and what would be hashed is counted.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

MAX_STEPS = 1_000_000  # of hashing, for all keys of a program; a state dict takes one a key
MAX_OPCODES = 2_000_000  # of a program; a tensor takes about 40
MAX_BITS = 64  # bits of a whole number that hashes to itself, or nearly: larger ones can be made to collide
COLLISION = 1000  # steps that a larger one counts for

PLAIN, LARGE = "plain", "large"  # opaque values: any, and a whole number of more bits than its hash has
HASHING = ("set", "Counter", "OrderedDict")  # callables whose arguments become keys
Item = Any  # PLAIN, LARGE, a marker, or a list of items: a tuple's or a list's members


class CostError(Exception):
    """A program that would take more steps than any checkpoint does."""


class Mark:
    """Where a slice of the stack begins."""


class Follower:
    """The stack and the memory of a program, one opcode at a time."""

    def __init__(self) -> None:
        self._stack: list[Item] = []
        self._memory: dict[int, Item] = {}
        self._steps, self._opcodes = MAX_STEPS, MAX_OPCODES

    def follow(self, name: str, argument: object) -> None:
        """Take the next opcode.  Raises CostError; ValueError and LookupError where the program makes no sense."""
        self._opcodes -= 1
        if self._opcodes < 0:
            raise CostError
        step = STEPS.get(name)
        if step is None:
            self._other(name, argument)
        else:
            step(self, argument)

    def _global(self, argument: object) -> None:
        self._stack.append(str(argument).rpartition(" ")[2])

    def _mark(self, _: object) -> None:
        self._stack.append(Mark())

    def _empty(self, _: object) -> None:
        self._stack.append([])

    def _tuple(self, _: object) -> None:
        self._stack.append(self._slice())

    def _short_tuple(self, _: object, count: int) -> None:
        members = [self._stack.pop() for _ in range(count)]
        self._stack.append(members)

    def _append(self, _: object) -> None:
        self._extend([self._stack.pop()])

    def _appends(self, _: object) -> None:
        self._extend(self._slice())

    def _set_item(self, _: object) -> None:
        self._stack.pop()
        self._charge([self._stack.pop()])

    def _set_items(self, _: object) -> None:
        self._charge(self._slice()[::2])

    def _call(self, _: object) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if function in HASHING:
            self._charge([arguments])
        self._stack.append(PLAIN)

    def _build(self, _: object) -> None:
        self._stack.pop()

    def _get(self, argument: object) -> None:
        self._stack.append(self._memory[int(str(argument))])

    def _put(self, argument: object) -> None:
        self._memory[int(str(argument))] = self._stack[-1]

    def _memoize(self, _: object) -> None:
        self._memory[len(self._memory)] = self._stack[-1]

    def _other(self, name: str, argument: object) -> None:
        """Any other opcode: as many values come and go as its description says, and all are opaque."""
        code = OPCODES[name]
        if pickletools.markobject in code.stack_before:
            self._slice()
        for before in code.stack_before:
            if before not in (pickletools.markobject, pickletools.stackslice):
                self._stack.pop()
        large = isinstance(argument, int) and argument.bit_length() > MAX_BITS
        self._stack += [LARGE if large else PLAIN] * len(code.stack_after)

    def _slice(self) -> list[Item]:
        """Take what is above the last mark, and the mark."""
        place = len(self._stack) - 1
        while not isinstance(self._stack[place], Mark):
            place -= 1
            if place < 0:
                raise IndexError("no mark")
        members = self._stack[place + 1 :]
        del self._stack[place:]
        return members

    def _extend(self, members: Sequence[Item]) -> None:
        """Add to the list on top."""
        if isinstance(self._stack[-1], list):
            self._stack[-1].extend(members)

    def _charge(self, keys: Iterable[Item]) -> None:
        """Count the steps that hashing takes.  Raises CostError once they are too many."""
        waiting = list(keys)
        while waiting:
            item = waiting.pop()
            self._steps -= COLLISION if item is LARGE else 1
            if self._steps < 0:
                raise CostError
            if isinstance(item, list):
                if len(item) > self._steps:
                    raise CostError
                waiting.extend(item)


OPCODES = {code.name: code for code in pickletools.opcodes}
STEPS: dict[str, Callable[[Follower, Any], None]] = {
    **dict.fromkeys(("GLOBAL", "INST"), Follower._global),
    "MARK": Follower._mark,
    **dict.fromkeys(("EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"), Follower._empty),
    "TUPLE": Follower._tuple,
    **{f"TUPLE{count}": partial(Follower._short_tuple, count=count) for count in (1, 2, 3)},
    "APPEND": Follower._append,
    "APPENDS": Follower._appends,
    "SETITEM": Follower._set_item,
    "SETITEMS": Follower._set_items,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), Follower._call),
    "BUILD": Follower._build,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Follower._get),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), Follower._put),
    "MEMOIZE": Follower._memoize,
}
