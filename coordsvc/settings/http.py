"""The HTTP door's limits and defaults."""

from typing import Self

from pydantic import Field, model_validator

from coordsvc.core.dialogue import ReplyMode
from coordsvc.settings.node import Node

DAY_S = 86_400
"""Nothing here is waited for longer; and no timer overflows."""
MESSAGES_CEILING = 1024
"""Parsing stops here, whatever `messages_max` says: one MiB could hold 36,000 empty messages."""


class HttpSettings(Node):
    """What the door lets in, and what it assumes when a request does not say."""

    body_bytes_max: int = Field(default=1 << 20, ge=1024, le=64 << 20)
    """Bytes. 1 MiB is some 250,000 tokens: more than any model served here can read."""
    body_s: float = Field(default=10.0, gt=0, le=DAY_S)
    """Seconds for a body to arrive. A dialogue is a packet or a few; a trickle is abuse."""
    messages_max: int = Field(default=256, ge=1, le=MESSAGES_CEILING)
    """Messages in a conversation. Longer ones overflow the context long before."""
    stop_chars_max: int = Field(default=256, ge=1, le=65_536)
    """Characters of one stop sequence. Engines compare each against the tail of every reply."""
    turns_in_flight_max: int = Field(default=256, ge=1, le=100_000)
    """Requests inside the door at once, slow readers included. Each may hold one body in memory;
    more than this wait longer than their deadline, so they had better come back."""
    retry_after_s: int = Field(default=1, ge=1, le=DAY_S)
    """Seconds until a refused client should return. A few turns have ended by then."""
    max_tokens_default: int = Field(default=256, ge=1, le=1_000_000)
    """Tokens of a reply when the request does not say: a long paragraph."""
    max_tokens_max: int = Field(default=4096, ge=1, le=1_000_000)
    """Tokens of a reply at most. Bounds how long one turn may hold an engine's batch slot."""
    temperature_default: float = Field(default=0.0, ge=0, le=2)
    """No unit; OpenAI's own default is 1. Small models ramble at 1, and greedy replies repeat,
    which measurements and prefix caches both like."""
    deadline_s: float = Field(default=120.0, gt=0, le=DAY_S)
    """Seconds a turn may take when the request does not say; clients give up at about this."""
    deadline_s_max: float = Field(default=600.0, gt=0, le=DAY_S)
    """Seconds a turn may ask for: the OpenAI client's own default timeout."""
    slow_client_s: float = Field(default=10.0, gt=0, le=DAY_S)
    """Seconds without the transport taking another byte before the connection is dropped.
    The turn itself never waits for the client; this only frees the reply's memory."""
    mode: ReplyMode = Field(default=ReplyMode.CHECK_THEN_SEND, strict=False)
    """How replies are checked when the request does not say: what a user sees has been checked."""
    account: bool = True
    """Whether the reply tells where its time went when the request does not say: it is what
    this service is for, and costs some 10 microseconds."""

    log_text: bool = False
    """Whether what users ask and are answered is logged, and errors in words that may repeat it:
    for looking into one's own dialogues. Other people's are nobody's to read."""

    @model_validator(mode="after")
    def _defaults_within_limits(self) -> Self:
        if self.max_tokens_default > self.max_tokens_max:
            raise ValueError(
                f"max_tokens_default ({self.max_tokens_default}) is above "
                f"max_tokens_max ({self.max_tokens_max})"
            )
        if self.deadline_s > self.deadline_s_max:
            raise ValueError(
                f"deadline_s ({self.deadline_s}) is above deadline_s_max ({self.deadline_s_max})"
            )
        return self
