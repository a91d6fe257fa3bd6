"""Which nodes a desk can use at all: predicates on attributes, evaluated by the allocator.

A node that an offer's receiver would only decline is never offered to it; so a filter costs no
round trip, and says in `coordsvc explain` why a phase waits.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from coordsvc.core.resources import Resources


@dataclass(frozen=True, slots=True)
class Condition:
    """One attribute of a node must have one of these values.

    An attribute whose value is several words has each of them (adapters="planner checker").
    """

    name: str
    one_of: tuple[str, ...]

    def holds(self, attributes: Mapping[str, str]) -> bool:
        """Tell whether a node with these attributes satisfies the condition."""
        value = attributes.get(self.name)
        if value is None:
            return False
        return value in self.one_of or any(word in self.one_of for word in value.split())

    def __str__(self) -> str:
        return f"{self.name} is {' or '.join(self.one_of)}"


@dataclass(frozen=True, slots=True)
class NodeFilter:
    """All conditions must hold, and the node must have at least so much free."""

    conditions: tuple[Condition, ...] = ()
    free_at_least: Resources = Resources()

    @classmethod
    def requiring(cls, requires: Mapping[str, str | tuple[str, ...]]) -> "NodeFilter":
        """Return the filter for attributes that must have a value, or one of several."""
        return cls(
            tuple(
                Condition(name, (wanted,) if isinstance(wanted, str) else tuple(wanted))
                for name, wanted in sorted(requires.items())
            )
        )

    def suits(self, attributes: Mapping[str, str]) -> bool:
        """Tell whether a node with these attributes may be offered."""
        return all(condition.holds(attributes) for condition in self.conditions)

    def failing(self, attributes: Mapping[str, str]) -> tuple[Condition, ...]:
        """Return the conditions that such a node does not satisfy."""
        return tuple(one for one in self.conditions if not one.holds(attributes))

    def names(self) -> frozenset[str]:
        """Return the attributes that matter to it."""
        return frozenset(condition.name for condition in self.conditions)


ANY_NODE = NodeFilter()
