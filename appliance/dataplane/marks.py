"""Some of the numbers below a count, in an octet for each of them. Pure.

A set of Python's takes 16 octets for each place of its hash table and 28 for each number: megabytes while all slots of
hundreds of services are tracked. Here a number costs an octet whether it is in or not, nothing where none is in, and
finding the next one is memchr(3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet
from itertools import compress

DENSE = 16
"""Where one of so many numbers is in, looking at each is as fast as looking for the next."""


class Marks(MutableSet[int]):
    """A set of numbers from 0 to `count` - 1, in order."""

    __slots__ = ("_count", "_size", "_which")

    def __init__(self, count: int, numbers: Iterable[int] = ()) -> None:
        self._count, self._size = count, 0
        self._which = bytearray()
        self.update(numbers)

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and 0 <= number < len(self._which) and self._which[number] == 1

    def __iter__(self) -> Iterator[int]:
        dense = self._size * DENSE > len(self._which)
        return compress(range(len(self._which)), self._which) if dense else self._sparse()

    def _sparse(self) -> Iterator[int]:
        number = self._which.find(1)
        while number >= 0:
            yield number
            number = self._which.find(1, number + 1)

    def __len__(self) -> int:
        return self._size

    def add(self, number: int) -> None:
        """Put a number in; raises IndexError for one that is too large."""
        if number not in self:
            self._which = self._which or bytearray(self._count)
            self._which[number] = 1
            self._size += 1

    def discard(self, number: int) -> None:
        """Take a number out, where it is in."""
        if number in self:
            self._which[number] = 0
            self._size -= 1
            if not self._size:
                self.clear()

    def update(self, numbers: Iterable[int]) -> None:
        """Put numbers in; raises IndexError for one that is too large."""
        which = self._which or bytearray(self._count)
        for number in numbers:
            which[number] = 1
        self._size = which.count(1)
        self._which = which if self._size else bytearray()

    def difference_update(self, numbers: Iterable[int]) -> None:
        """Take numbers out, those that are in."""
        for number in numbers:
            if number in self:
                self._which[number] = 0
        self._size = self._which.count(1)
        if not self._size:
            self.clear()

    def fill(self) -> None:
        """Put all numbers in."""
        self._which, self._size = bytearray(b"\1" * self._count), self._count

    def clear(self) -> None:
        """Take all numbers out."""
        self._which, self._size = bytearray(), 0
