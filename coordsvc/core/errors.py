"""What can go wrong, as one tree.

* `CoordinationError`
    * `ProtocolError`: a caller broke the rules; its request is refused, nothing changes
        * `UnknownOffer`
        * `IllegalTransition`
        * `Overdraft`
    * `RetryableError`: the same work may succeed elsewhere or later; `after` says when
        * `NodeGone`: the engine replica that the grant names has died or left
        * `GrantRefused`: the engine does not honour this grant (superseded, repeated, voided, full)
        * `Overloaded`: a bounded queue is full
        * `AgentGone`: the agent's replica died under the phase
    * `FatalError`: the same work will fail anywhere
        * `BadRequest`: the caller asked for something that cannot be served
            * `ContextTooLong`
            * `UnknownModel`
        * `EngineBroken`: an engine cannot work at all
        * `DeadlinePassed`: the turn's time is over

A broken invariant is not in this tree: it is a bug in the core, and an `AssertionError`.
These classes travel between processes, so each is rebuilt from its positional arguments.
"""

from coordsvc.core.units import MILLISECOND, Micros


class CoordinationError(Exception):
    """Base of every error that coordsvc raises on purpose."""


class ProtocolError(CoordinationError):
    """A caller asked for something that the rules of the offer cycle forbid."""


class UnknownOffer(ProtocolError):
    """The offer was never issued, or was closed long enough ago to be forgotten."""


class IllegalTransition(ProtocolError):
    """The offer exists, but cannot go from its present state to the one asked for."""


class Overdraft(ProtocolError):
    """More was asked for than the bundle holds."""


class RetryableError(CoordinationError):
    """The same work may succeed elsewhere, or later."""

    after: Micros = Micros(0)
    """How long to wait before trying again."""


class NodeGone(RetryableError):
    """The engine replica that the grant names has died or left."""


class GrantRefused(RetryableError):
    """The engine does not honour this grant; another one is needed."""


class Overloaded(RetryableError):
    """A bounded queue is full; come back after `after`."""

    after = Micros(1_000 * MILLISECOND)


class AgentGone(RetryableError):
    """The agent's replica died under the phase."""


class FatalError(CoordinationError):
    """The same work will fail anywhere; trying again is waste."""


class BadRequest(FatalError):
    """The caller asked for something that cannot be served; says what, where, what is right."""


class ContextTooLong(BadRequest):
    """The conversation and the reply asked for do not fit the model's context."""


class UnknownModel(BadRequest):
    """No such model is served here."""


class EngineBroken(FatalError):
    """An engine cannot work at all: its model does not load, its thread died."""


class DeadlinePassed(FatalError):
    """The turn's time is over."""
