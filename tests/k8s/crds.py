"""The real CustomResourceDefinitions, as JSON Schemas that refuse what they do not know.

They are found through COORDSVC_CRDS, or in a folder `crds` beside the checkout or in a neighbour of
it. Kubernetes prunes unknown fields in silence; here they are faults. Rules written in CEL
(x-kubernetes-validations) are not evaluated.
"""

import copy
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.k8s.manifests import ROOT, Manifest

WHERE = "COORDSVC_CRDS"


def folder() -> Path:
    """Where the definitions are; without them, the test is skipped."""
    named = os.environ.get(WHERE)
    candidates = [Path(named)] if named else [ROOT.parent / "crds", *ROOT.parent.glob("*/crds")]
    for candidate in sorted(candidates):
        if any(candidate.glob("*.yaml")):
            return candidate
    pytest.skip(f"not here: CustomResourceDefinitions; {WHERE} names a folder of them")


@cache
def kinds() -> dict[tuple[str, str], Draft202012Validator]:
    """A validator for each (apiVersion, kind) that is defined."""
    return {
        (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"]): _validator(
            version["schema"]["openAPIV3Schema"]
        )
        for path in sorted(folder().glob("*.yaml"))
        for crd in yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader)
        for version in crd["spec"]["versions"]
    }


def faults(manifest: Manifest) -> list[str]:
    """Everything that the definition of its kind says against it, as `path: what`."""
    validator = kinds()[manifest["apiVersion"], manifest["kind"]]
    return sorted(
        f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"
        for error in validator.iter_errors(manifest)
    )


def _validator(schema: Manifest) -> Draft202012Validator:
    strict = copy.deepcopy(schema)
    _refuse_unknown(strict)
    return _Checked(strict)


def _refuse_unknown(schema: object) -> None:
    """Make every object that lists its fields refuse others, unless it says that it keeps them."""
    if not isinstance(schema, dict):
        return
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields", False)
    if "properties" in schema and "additionalProperties" not in schema and not open_ended:
        schema["additionalProperties"] = False
    for inner in schema.get("properties", {}).values():
        _refuse_unknown(inner)
    for key in ("items", "additionalProperties"):
        _refuse_unknown(schema.get(key))


def _unique_by(
    _: Any, keys: list[str], items: object, __: object
) -> Iterator[jsonschema.ValidationError]:
    """Two items of a list with the same keys: the later would swallow the earlier."""
    seen: set[tuple[object, ...]] = set()
    for item in items if isinstance(items, list) else []:
        own = tuple(item.get(key) for key in keys)
        if own in seen:
            yield jsonschema.ValidationError(f"{keys} {own} stands there twice")
        seen.add(own)


_Checked = jsonschema.validators.extend(
    Draft202012Validator, {"x-kubernetes-list-map-keys": _unique_by}
)
