"""What all parts of the settings share."""

from pydantic import BaseModel, ConfigDict


class Node(BaseModel):
    """What all nodes of the tree share: frozen, and an unknown field is refused.

    Strict, too: what looks like a number is none (`"8000"`), and neither is a truth (`true`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
