"""A batch's places, for engines that keep no batch of their own: first come, first served."""

import asyncio
from collections import deque

from coordsvc.core.errors import EngineBroken, Overloaded


class Places:
    """`batch_max` requests are inside, at most `waiting_max` more wait in order of arrival."""

    def __init__(self, batch_max: int, waiting_max: int) -> None:
        self._free = batch_max
        self._waiting_max = waiting_max
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.inside = 0
        """How many have a place or wait for one."""

    def take_now(self) -> bool:
        """Take a place if one is free and nobody waits before us; tell whether it was so."""
        if self._free == 0:
            return False
        self._free -= 1
        self.inside += 1
        return True

    async def wait(self) -> None:
        """Wait for a place and take it. Cancelling leaves nothing taken."""
        if len(self._waiting) >= self._waiting_max:
            msg = f"{len(self._waiting)} requests wait for this engine already; come back later"
            raise Overloaded(msg)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self.inside += 1
        try:
            await turn
        except BaseException:
            given = turn.done() and not turn.cancelled() and turn.exception() is None
            if given:
                self.give_back()
            else:
                self.inside -= 1
                if turn in self._waiting:
                    self._waiting.remove(turn)
            raise

    def give_back(self) -> None:
        """Pass the place on to whoever has waited longest."""
        self.inside -= 1
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def refuse_all(self, error: EngineBroken) -> None:
        """Raise `error` in everybody who waits."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(error)
