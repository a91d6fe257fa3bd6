"""A look at a JSON schema before a grammar compiler sees it.

OpenVINO compiles the grammar inside a step, and a schema it does not understand fails the step,
and with it every request in the batch. So what is plainly no schema is refused at the door.
"""

import json
import re

from coordsvc.core.errors import BadRequest

_TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}
_DEPTH_MAX = 32
"""Levels of nesting; a verdict needs three."""


def require_schema(text: str) -> None:
    """Return if `text` is a JSON object whose types exist and whose references are local."""
    try:
        schema = json.loads(text)
    except ValueError as error:
        msg = f"json_schema is not JSON: {error}"
        raise BadRequest(msg) from error
    if not isinstance(schema, dict):
        msg = f"json_schema must be a JSON object, not {type(schema).__name__}"
        raise BadRequest(msg)
    _look(schema, 0)


def _look(node: object, depth: int) -> None:
    """Look at every schema below `node`; property names and constants are not schemas."""
    if depth > _DEPTH_MAX:
        msg = f"json_schema is nested deeper than {_DEPTH_MAX} levels"
        raise BadRequest(msg)
    if isinstance(node, list):
        for item in node:
            _look(item, depth + 1)
    if not isinstance(node, dict):
        return
    _require_keywords(node)
    for key, value in node.items():
        if key in {"properties", "$defs", "definitions", "patternProperties"}:
            for item in value.values() if isinstance(value, dict) else ():
                _look(item, depth + 1)
        elif key not in {"enum", "const", "default", "examples", "required", "type"}:
            _look(value, depth + 1)


def _require_keywords(node: dict[str, object]) -> None:
    """Return if this schema's own type, reference and pattern can be understood."""
    kinds = node.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind not in _TYPES:
            msg = f"json_schema has type {kind!r}; one of {', '.join(sorted(_TYPES))} is right"
            raise BadRequest(msg)
    reference = node.get("$ref", "#")
    if not (isinstance(reference, str) and reference.startswith("#")):
        msg = f"json_schema refers to {reference!r}; only references within it (#/...) are followed"
        raise BadRequest(msg)
    if "pattern" in node:
        _require_pattern(node["pattern"])


def _require_pattern(pattern: object) -> None:
    """Return if `pattern` is a regular expression; a broken one would break the whole batch."""
    try:
        re.compile(pattern if isinstance(pattern, str) else "(")
    except re.error as error:
        msg = f"json_schema has pattern {pattern!r}, which is no regular expression: {error}"
        raise BadRequest(msg) from error
