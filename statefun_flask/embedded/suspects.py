"""The addresses that were called when a process ended, and are called alone by the next one."""

from __future__ import annotations

import hashlib

from ..values.address import Address

#: So many times the process ends with a message alone in flight before the message is parked.
LIMIT = 2

#: The size of a label in bytes; a longer address is known by its digest.
LONGEST_LABEL = 500


class Suspect:
    """An address that was called when a process ended.

    :param ends: How often a process ended with a message of it alone in flight.
    :param untried: How many of its first messages are to be handled before it is cleared.
    :param since: When it became a suspect, in seconds since 1970.
    """

    __slots__ = ("ends", "since", "untried")

    def __init__(self, ends: int, untried: int, since: int) -> None:
        self.ends = ends
        self.untried = untried
        self.since = since


class Suspects:
    """The suspects of the start, by address."""

    def __init__(self) -> None:
        self._by_label: dict[bytes, Suspect] = {}
        self._acquitted: list[bytes] = []
        self._is_changed = False

    def __len__(self) -> int:
        return len(self._by_label)

    def __contains__(self, address: Address) -> bool:
        return self.untried(address) > 0

    def untried(self, address: Address) -> int:
        """Return how many messages of an address are still to be handled alone; 0 for none."""
        suspect = self._by_label.get(label_of(address))
        return 0 if suspect is None else suspect.untried

    def ends(self, address: Address) -> int:
        """Return how often a process ended with a message of an address alone in flight."""
        suspect = self._by_label.get(label_of(address))
        return 0 if suspect is None else suspect.ends

    def tried(self, address: Address, messages: int) -> bool:
        """Note that messages of a suspect were handled. Returns whether it is cleared."""
        label = label_of(address)
        suspect = self._by_label[label]
        suspect.untried = max(0, suspect.untried - messages)
        if suspect.ends:
            # They were of the message that was handled now. The next one has a count of its own.
            suspect.ends, self._is_changed = 0, True
        if suspect.untried:
            return False
        self._acquitted.append(label)
        return True

    def acquit(self, address: Address) -> None:
        """Clear a suspect with the next commit: it is parked, and no longer called."""
        self.tried(address, self.untried(address))

    # -- the file -------------------------------------------------------------------------

    def put(self, label: bytes, suspect: Suspect) -> None:
        """Add a suspect, or replace it."""
        self._by_label[label] = suspect

    def items(self) -> list[tuple[bytes, Suspect]]:
        """Return the labels with their suspects."""
        return list(self._by_label.items())

    def committed(self) -> bool:
        """Forget those that are cleared, since that is on disk. Returns whether any has changed."""
        labels, self._acquitted = self._acquitted, []
        is_changed, self._is_changed = self._is_changed, False
        for label in labels:
            self._by_label.pop(label, None)
        return is_changed or bool(labels)


def label_of(address: Address) -> bytes:
    """Return an address as bytes that fit into an entry of the file."""
    label = "\0".join((address.type, address.id)).encode("utf-8", "surrogatepass")
    return label if len(label) <= LONGEST_LABEL else hashlib.sha256(label).digest()
