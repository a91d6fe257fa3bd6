"""The core's values as plain data, and back: for the decision log, snapshots and people.

Plain data are what JSON knows: numbers, strings, truths, None, lists, and objects keyed by strings.
What a value looks like follows from its annotation alone:

* a dataclass is an object of its fields, without those at their defaults;
* one of several dataclasses has a field `type` beside, with the class's name;
* an enum's member is its name; a number without an end is "inf", "-inf" or "nan";
* a tuple or list is a list; a set is a sorted list;
* a `Mapping` is an object with sorted keys, for its order means nothing; a `dict` is a list of
  pairs, for its order is part of it. So is a `Mapping` whose keys are no strings, sorted.

The same value gives the same data. What is not as annotated is refused, both ways.
"""

import types
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from math import isfinite
from typing import Any, NewType, Union, get_args, get_origin, get_type_hints

from coordsvc.core.errors import BadRequest, ProtocolError
from coordsvc.core.learning import LearnedUtilities
from coordsvc.core.policies import Policy
from coordsvc.core.policies.attained_service import AttainedService
from coordsvc.core.policies.fair_share import FairShare
from coordsvc.core.policies.first_come import FirstCome
from coordsvc.core.policies.oldest_first import OldestFirst
from coordsvc.core.policies.planned import Planned
from coordsvc.core.policies.round_robin import RoundRobin
from coordsvc.core.policies.slack import Slack
from coordsvc.core.policies.static_partition import StaticPartition
from coordsvc.core.policies.utilities import PowerUtilities, Utilities
from coordsvc.core.policies.utility import Utility
from coordsvc.core.policies.virtual_finish import VirtualFinish

Plain = NewType("Plain", object)
"""In an annotation: plain data already, passed on as they are."""

TYPE = "type"
"""Names the class, where an annotation leaves several open."""

ENDLESS = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}

FAMILIES: Mapping[Any, tuple[type[Any], ...]] = {
    Policy: (
        AttainedService,
        FairShare,
        FirstCome,
        OldestFirst,
        Planned,
        RoundRobin,
        Slack,
        StaticPartition,
        Utility,
        VirtualFinish,
    ),
    Utilities: (PowerUtilities, LearnedUtilities),
}
"""What may stand where a protocol is annotated. A new policy is entered here, too."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How values of one annotation are written, and read."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


def to_plain(value: Any, annotation: Any) -> Any:
    """Return `value` as plain data; raise `BadRequest` where it is not as annotated."""
    return codec(annotation).write(value)


def from_plain(data: Any, annotation: Any) -> Any:
    """Return the value that `data` stands for; raise `BadRequest` where it is none such."""
    return codec(annotation).read(data)


@cache
def codec(annotation: Any) -> Codec:
    """Return how values of an annotation are written and read; it is worked out once."""
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if isinstance(annotation, NewType):
        return codec(annotation.__supertype__)
    if annotation in FAMILIES:
        return _one_of(FAMILIES[annotation])
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _union(args)
    if origin is tuple and args[-1] is not Ellipsis:
        return _fixed(tuple(codec(one) for one in args))
    if origin in (tuple, list, frozenset, set):
        return _several(origin, codec(args[0]))
    if origin in (dict, OrderedDict):
        return _ordered(origin, codec(args[0]), codec(args[1]))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(args[0], codec(args[0]), codec(args[1]))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _enum(annotation)
    if isinstance(annotation, type) and is_dataclass(annotation):
        return _dataclass(annotation)
    raise BadRequest(f"{annotation} has no plain form")


def _wrong(wanted: str, got: object) -> BadRequest:
    return BadRequest(f"{got!r:.80} is not {wanted}")


def _scalar(wanted: type[Any], name: str) -> Codec:
    def same(value: Any) -> Any:
        if type(value) is not wanted:
            raise _wrong(name, value)
        return value

    return Codec(same, same)


def _write_number(value: Any) -> Any:
    if type(value) is int:
        return value
    if type(value) is not float:
        raise _wrong("a number", value)
    return value if isfinite(value) else str(value)


def _read_number(data: Any) -> Any:
    if isinstance(data, str) and data in ENDLESS:
        return ENDLESS[data]
    if type(data) not in (int, float):
        raise _wrong("a number", data)
    return data


_SCALARS: Mapping[Any, Codec] = {
    int: _scalar(int, "a whole number"),
    str: _scalar(str, "a text"),
    bool: _scalar(bool, "true or false"),
    None: _scalar(type(None), "null"),
    float: Codec(_write_number, _read_number),
    Plain: Codec(lambda value: value, lambda data: data),
}


def _list_of(data: Any) -> list[Any]:
    if type(data) is not list:
        raise _wrong("a list", data)
    return data


def _object(data: Any) -> dict[str, Any]:
    if type(data) is not dict:
        raise _wrong("an object", data)
    return data


def _several(kind: type[Any], one: Codec) -> Codec:
    is_set = kind in (frozenset, set)

    def write(value: Any) -> Any:
        if not isinstance(value, kind):
            raise _wrong(f"a {kind.__name__}", value)
        return [one.write(member) for member in (sorted(value) if is_set else value)]

    return Codec(write, lambda data: kind([one.read(member) for member in _list_of(data)]))


def _fixed(ones: tuple[Codec, ...]) -> Codec:
    def counted(members: Any) -> Iterable[tuple[Codec, Any]]:
        if not isinstance(members, (list, tuple)) or len(members) != len(ones):
            raise _wrong(f"a list of {len(ones)}", members)
        return zip(ones, members, strict=True)

    return Codec(
        lambda value: [one.write(member) for one, member in counted(value)],
        lambda data: tuple([one.read(member) for one, member in counted(data)]),
    )


def _ordered(kind: type[Any], key: Codec, value: Codec) -> Codec:
    pair = _fixed((key, value))

    def write(known: Any) -> Any:
        if not isinstance(known, dict):
            raise _wrong("a dict", known)
        return [[key.write(k), value.write(v)] for k, v in known.items()]

    return Codec(write, lambda data: kind([pair.read(one) for one in _list_of(data)]))


def _mapping(of: Any, key: Codec, value: Codec) -> Codec:
    while isinstance(of, NewType):
        of = of.__supertype__
    if of is not str:
        pairs = _ordered(dict, key, value)
        return Codec(lambda known: pairs.write(dict(sorted(known.items()))), pairs.read)

    def write(known: Any) -> Any:
        if not isinstance(known, Mapping):
            raise _wrong("a mapping", known)
        return {key.write(name): value.write(known[name]) for name in sorted(known)}

    def read(data: Any) -> Any:
        return {key.read(name): value.read(said) for name, said in _object(data).items()}

    return Codec(write, read)


def _enum(kind: type[Enum]) -> Codec:
    def read(data: Any) -> Any:
        if type(data) is not str or data not in kind.__members__:
            raise _wrong(f"one of {', '.join(kind.__members__)}", data)
        return kind[data]

    def write(value: Any) -> Any:
        if not isinstance(value, kind):
            raise _wrong(f"a {kind.__name__}", value)
        return value.name

    return Codec(write, read)


def _union(args: tuple[Any, ...]) -> Codec:
    some = tuple(one for one in args if one is not type(None))
    if len(some) > 1 and not all(map(is_dataclass, some)):
        raise BadRequest(f"one of {some} has no plain form: only dataclasses are told apart")
    inner = codec(some[0]) if len(some) == 1 else _one_of(some)
    if len(some) == len(args):
        return inner
    return Codec(
        lambda value: None if value is None else inner.write(value),
        lambda data: None if data is None else inner.read(data),
    )


def _one_of(kinds: tuple[Any, ...]) -> Codec:
    """Return how one of several classes is written: with its name."""
    by_kind = {kind: _dataclass(kind) for kind in kinds}
    by_name = {kind.__name__: found for kind, found in by_kind.items()}

    def write(value: Any) -> Any:
        found = by_kind.get(type(value))
        if found is None:
            raise _wrong(f"one of {', '.join(by_name)}", value)
        return {TYPE: type(value).__name__, **found.write(value)}

    def read(data: Any) -> Any:
        rest = dict(_object(data))
        name = rest.pop(TYPE, None)
        if not isinstance(name, str) or name not in by_name:
            raise BadRequest(f"type is {name!r:.80}; it is one of {', '.join(by_name)}")
        return by_name[name].read(rest)

    return Codec(write, read)


@dataclass(frozen=True, slots=True)
class _Member:
    """One field of a dataclass."""

    name: str
    codec: Codec
    default: Any
    """What it is when nothing is said; MISSING where it must be said."""

    def is_default(self, own: Any) -> bool:
        """Tell whether nothing need be said; 1 is not 1.0 here, nor is it True."""
        alike = type(own) is type(self.default) or isinstance(own, Mapping)
        return alike and bool(own == self.default)


def _members(kind: Any) -> tuple[_Member, ...]:
    if not is_dataclass(kind):
        return ()  # a class without state
    hints = get_type_hints(kind)
    return tuple(
        _Member(one.name, codec(hints[one.name]), _default(one)) for one in fields(kind) if one.init
    )


def _default(one: "Field[Any]") -> Any:
    if one.default_factory is not MISSING:
        return one.default_factory()
    return one.default


def _dataclass(kind: Any) -> Codec:
    name: str = kind.__name__
    known = cache(lambda: {member.name: member for member in _members(kind)})  # may hold itself

    def write(value: Any) -> Any:
        if type(value) is not kind:
            raise _wrong(f"a {name}", value)
        said: dict[str, Any] = {}
        for member in known().values():
            own = getattr(value, member.name)
            if member.is_default(own):
                continue
            try:
                said[member.name] = member.codec.write(own)
            except BadRequest as error:
                raise BadRequest(f"{name}.{member.name}: {error}") from None
        return said

    def read(data: Any) -> Any:
        said = _object(data)
        if strange := sorted(map(str, said.keys() - known().keys())):
            raise BadRequest(f"{name} has no field {', '.join(strange)}")
        missing = [m.name for m in known().values() if m.default is MISSING and m.name not in said]
        if missing:
            raise BadRequest(f"{name} lacks {', '.join(missing)}")
        made: dict[str, Any] = {}
        for field_name, own in said.items():
            try:
                made[field_name] = known()[field_name].codec.read(own)
            except BadRequest as error:
                raise BadRequest(f"{name}.{field_name}: {error}") from None
        try:
            return kind(**made)
        except (ProtocolError, AssertionError) as error:
            raise BadRequest(f"{name}: {error}") from None

    return Codec(write, read)
