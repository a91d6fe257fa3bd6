"""What the HTTP door needs to be told when it is built."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from coordsvc.core.trace import Sampling
from coordsvc.ports import Clock, TurnTracer
from coordsvc.serving.http.keys import Keyring
from coordsvc.settings.http import HttpSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One served model, the clock, the limits, and how to tell whether turns can be answered."""

    model: str
    """The id that requests must name."""
    created: int
    """When the service came up, in Unix seconds, as of `build_app`; replies count on from it."""
    clock: Clock
    ready: Callable[[], Awaitable[str | None]]
    """None when turns can be answered, else the reason why not."""
    settings: HttpSettings = field(default_factory=HttpSettings)
    keys: Keyring | None = None
    """Who is let in; None lets everybody in."""
    emulated: bool = False
    """Whether the engines make their text up. Known here, the first chunk of a stream says so
    already; an engine that reports it only afterwards is named in the last chunk."""
    sampling: Sampling | None = None
    """Which turns are traced; None traces none."""
    tracer: TurnTracer | None = None
    """Who is told of requests that were refused before they became turns."""
