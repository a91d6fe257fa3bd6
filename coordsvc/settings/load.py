"""Reading and checking settings: what is wrong is said with its path, value and remedy."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from coordsvc.core.errors import BadRequest
from coordsvc.settings.scaling import conflicts
from coordsvc.settings.tree import AppSettings

OURS = "coordsvc."
"""What the import paths of our applications begin with."""
SHOWN_MAX = 80
"""Characters of a wrong value that an error repeats."""


class SettingsError(BadRequest):
    """The settings are wrong; the message has a line for each fault."""


def check(args: Mapping[str, Any], where: str = "args") -> AppSettings:
    """Return the settings in `args`; raise `SettingsError` telling every fault in them."""
    try:
        return AppSettings.model_validate(dict(args))
    except ValidationError as error:
        faults = [_fault(fault, where) for fault in error.errors(include_url=False)]
        raise SettingsError("\n".join(faults)) from None


def read_deployment(path: Path) -> dict[str, Any]:
    """Return a Serve config file of ours, its applications' args checked."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # ValueError: not UTF-8, a day that no calendar has, a number that Python refuses to read
        raise SettingsError(f"{path}: is not YAML: {error}") from error
    applications = config.get("applications") if isinstance(config, dict) else None
    if not isinstance(applications, list) or not applications:
        raise SettingsError(f"{path}: has no `applications`; a Serve config file is right")
    for position, application in enumerate(applications):
        if not isinstance(application, dict):
            raise SettingsError(f"{path}: applications[{position}] is not a mapping")
        if str(application.get("import_path", "")).startswith(OURS):
            args = application.get("args") or {}
            if not isinstance(args, dict):
                raise SettingsError(f"{path}: applications[{position}].args is not a mapping")
            settings = check(args, f"applications[{position}].args")
            faults = list(conflicts(application, settings.scaling, f"applications[{position}]"))
            if faults:
                raise SettingsError("\n".join(faults))
    return dict(config)


def read_application(path: Path) -> AppSettings:
    """Return the settings of the one application of ours in a Serve config file."""
    applications = read_deployment(path)["applications"]
    ours = [one for one in applications if str(one.get("import_path", "")).startswith(OURS)]
    if len(ours) != 1:
        raise SettingsError(
            f"{path}: has {len(ours)} applications of coordsvc; a file with one is right"
        )
    return check(ours[0].get("args") or {})


def _fault(fault: Any, where: str) -> str:
    """Return what is wrong, in one line: the path, the value, what would be right."""
    path = _path(where, _without_tags(fault["loc"]))
    message = str(fault["msg"]).removeprefix("Value error, ")
    match fault["type"]:
        case "extra_forbidden":
            return f"{path}: there is no such setting{_hint(fault['loc'])}"
        case "missing":
            return f"{path}: is missing"
        case "union_tag_not_found":
            return f"{path}.kind: is missing; {_kinds(fault['loc'])}"
        case "union_tag_invalid":
            return f"{path}.kind: {fault['ctx']['tag']!r} is not right; {_kinds(fault['loc'])}"
        case "value_error" if isinstance(fault["input"], dict | BaseModel):
            return f"{path}: {message}"
        case "model_type" | "model_attributes_type" | "dict_type":
            message = "a mapping is right"
        case "tuple_type":
            message = "a list is right"
        case _:
            pass  # pydantic's own words will do
    return f"{path}: {_shown(fault['input'])} is not right: {message}"


def _path(where: str, loc: Sequence[int | str]) -> str:
    """Return the way in one printable line, whatever a key in the file may be."""
    named = (isinstance(step, str) and step.isprintable() for step in loc)
    return where + "".join(
        f".{step}" if plain else f"[{step!r}]" for step, plain in zip(loc, named, strict=True)
    )


def _without_tags(loc: Sequence[int | str]) -> list[int | str]:
    """Return the way as it stands in the file: pydantic adds a step for each chosen `kind`."""
    node: Any = AppSettings
    way: list[int | str] = []
    for step in loc:
        inside = _inside(node, step)
        if _fields(node) or not _is_tag(node, step):
            way.append(step)
        node = inside
    return way


def _is_tag(node: Any, step: int | str) -> bool:
    return any(
        (kind := candidate.model_fields.get("kind")) is not None and kind.default == step
        for candidate in _classes(node)
    )


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, a list in a list in...
        return f"this {type(value).__name__}"
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "..."


def _hint(loc: Sequence[int | str]) -> str:
    """Return the settings that exist where an unknown one was found."""
    known = _fields(_reached(loc[:-1]))
    near = get_close_matches(str(loc[-1]), known, n=1)
    if near:
        return f"; did you mean `{near[0]}`?"
    return f"; known here: {', '.join(known)}" if known else ""


def _kinds(loc: Sequence[int | str]) -> str:
    """Return the kinds of settings that there are at `loc`."""
    kinds = [str(candidate.model_fields["kind"].default) for candidate in _classes(_reached(loc))]
    return f"one of {', '.join(kinds)} is right"


def _reached(loc: Sequence[int | str]) -> Any:
    """Return the class of settings, or the choice of them, that `loc` leads to, or None."""
    node: Any = AppSettings
    for step in loc:
        node = _inside(node, step)
    return node


def _fields(node: Any) -> list[str]:
    return sorted(getattr(node, "model_fields", {}))


def _inside(node: Any, step: int | str) -> Any:
    """Return the class of settings, or the choice of them, that `step` leads to, or None."""
    if isinstance(step, int):
        return node  # one of several alike
    if get_origin(node) is dict:
        return next(iter(_classes(node)), None)  # each under a name of its own
    field = getattr(node, "model_fields", {}).get(step)
    candidates = _classes(field.annotation) if field is not None else _classes(node)
    if field is not None and len(candidates) == 1 and get_origin(field.annotation) is not dict:
        return candidates[0]
    if field is not None:
        return field.annotation
    for candidate in candidates:
        kind = candidate.model_fields.get("kind")
        if kind is not None and kind.default == step:
            return candidate
    return None


def _classes(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _classes(part)]
