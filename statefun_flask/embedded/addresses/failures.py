"""What stands still after a failure: addresses that are parked, endpoints that are down."""

from __future__ import annotations

import collections.abc as cabc

from ...values.address import Address
from .. import events
from ..clock import Clock
from ..endpoints.pool import Call
from ..error_text import describe
from ..errors import EndpointDown
from ..records import Envelope
from ..records import Parked
from ..store.store import Store
from ..timers import Schedule
from .backoff import Pause
from .mailbox import Mailbox
from .ready import ReadyQueue

#: Before a message that failed on its own is tried again, in milliseconds, times its tries.
RETRY_DELAY = 100


class Failures:
    """Decides what a failure holds back, and for how long.

    :param ready: Gets the addresses that are to be called again.
    :param tell: Is told what happened.
    :param call: Calls an address at once, to probe its endpoint.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        schedule: Schedule,
        ready: ReadyQueue[Address],
        tell: cabc.Callable[[events.Event], None],
        call: cabc.Callable[[Address], None],
    ) -> None:
        self.parked: dict[Address, Parked] = {each.address: each for each in store.parked()}
        #: By function type.
        self.pauses: dict[str, Pause] = {}
        #: Addresses whose first message failed and is tried again in a moment.
        self.retrying = 0
        self._store = store
        self._clock = clock
        self._schedule = schedule
        self._ready = ready
        self._tell = tell
        self._call = call

    # -- messages that fail ---------------------------------------------------------------

    def fail(
        self,
        address: Address,
        mailbox: Mailbox,
        batch: list[Envelope],
        exc: BaseException,
        tries: int,
    ) -> bool:
        """End a batch that failed. Returns whether its address is parked now.

        :param tries: After how many tries a message that fails on its own parks its address.
        """
        alone = mailbox.failed()
        park = alone and mailbox.tries >= tries
        if park:
            self._park(address, mailbox.messages[0], exc)
        elif alone:
            self.retrying += 1
            self._schedule.later(RETRY_DELAY * mailbox.tries, lambda: self._try_again(address))
        else:
            self._ready.add(address)
        self._tell(
            events.Failed(
                at=self._clock.now(),
                trace=batch[0].trace,
                address=address,
                batch=batch,
                error=exc,
                parked=park,
                waiting=len(mailbox.messages) - 1,
            )
        )
        return park

    def _try_again(self, address: Address) -> None:
        self.retrying -= 1
        self._ready.add(address)

    def _park(self, address: Address, culprit: Envelope, exc: BaseException) -> None:
        parked = Parked(address, culprit.seq, culprit.trace, describe(exc), self._clock.now())
        self.parked[address] = self._store.changes.parked[address] = parked

    def unpark(self, address: Address) -> None:
        """Forget that an address is parked."""
        del self.parked[address]
        self._store.changes.parked[address] = None

    # -- endpoints that are down ----------------------------------------------------------

    def pause(self, call: Call, exc: EndpointDown) -> None:
        """Hold back a function type, since its endpoint is down; its messages stay as they are."""
        typename = call.address.type
        call.mailbox.returned()
        pause = self.pauses.setdefault(typename, Pause())
        pause.waiting.append(call.address)
        if pause.probe == call.address:
            pause.lengthen()
        elif pause.announced:
            return
        pause.announced = True
        self._schedule.later(pause.delay, lambda: self._probe(typename, pause))
        ready = sum(address.type == typename for address in self._ready)
        self._tell(
            events.Down(
                at=self._clock.now(),
                typename=typename,
                endpoint=call.endpoint.name,
                reason=exc.reason,
                waiting=len(pause.waiting) + ready,
                delay=pause.delay,
            )
        )

    def _probe(self, typename: str, pause: Pause) -> None:
        if self.pauses.get(typename) is not pause:
            return
        pause.probe = pause.waiting.popleft()
        self._call(pause.probe)

    def resume(self, typename: str, endpoint: str) -> None:
        """Let a function type go on, since its endpoint has answered."""
        for address in self.pauses.pop(typename).waiting:
            self._ready.add(address)
        self._tell(events.Up(at=self._clock.now(), typename=typename, endpoint=endpoint))
