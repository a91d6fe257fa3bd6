"""What is plainly no schema is refused at the door; the rest passes."""

import json

import pytest

from coordsvc.core.errors import BadRequest
from coordsvc.engines.json_schemas import require_schema

VERDICT = {
    "type": "object",
    "properties": {
        "accept": {"type": "boolean"},
        "score": {"type": ["integer", "null"], "minimum": 0},
        "type": {"enum": ["nonsense", {"type": "odd"}]},
        "items": {"type": "array", "items": {"$ref": "#/$defs/one"}},
    },
    "$defs": {"one": {"anyOf": [{"type": "string"}, {"const": {"type": "odd"}}]}},
    "required": ["accept"],
}


def test_a_verdict_schema_passes():
    require_schema(json.dumps(VERDICT))
    require_schema("{}")


def deep(levels):
    schema = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return json.dumps(schema)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not json", "not JSON"),
        ("[]", "must be a JSON object, not list"),
        ('{"type": "nonsense"}', "type 'nonsense'"),
        ('{"properties": {"a": {"type": 5}}}', "type 5"),
        ('{"anyOf": [{"type": "x"}]}', "type 'x'"),
        ('{"$ref": "http://example.com/s"}', "only references within it"),
        ('{"properties": {"a": {"type": "string", "pattern": "("}}}', "no regular expression"),
        ('{"pattern": 5}', "pattern 5"),
        (deep(40), "nested deeper"),
    ],
)
def test_what_is_no_schema_says_why(text, says):
    with pytest.raises(BadRequest, match=says):
        require_schema(text)
