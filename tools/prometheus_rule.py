"""Writes k8s/monitoring/prometheus-rule.yaml from the plain rule files beside it: `make docs`.

The operator wants the groups inside an object of its own kind; promtool, and a Prometheus without
the operator, want the plain files. These are what people edit. With --check, writes nothing, and
fails if something would change.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

MONITORING = Path(__file__).parents[1] / "k8s/monitoring"
RULES = MONITORING / "rules"
OBJECT = MONITORING / "prometheus-rule.yaml"
NOTICE = "# Written by `make docs` from rules/*.yaml; edits here are lost.\n"


class Text(yaml.SafeDumper):
    """Writes text of several lines as a block, as a person would."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Text.add_representer(str, _block)


def groups() -> list[dict[str, Any]]:
    """Return the groups of every rule file, in the order of the files' names."""
    return [
        group
        for path in sorted(RULES.glob("*.yaml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]


def rule() -> str:
    """Return the object that the Prometheus operator takes."""
    told = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "coordsvc",
            "namespace": "coordsvc",
            "labels": {
                "app.kubernetes.io/part-of": "coordsvc",
                "release": "kube-prometheus-stack",
            },
        },
        "spec": {"groups": groups()},
    }
    return NOTICE + yaml.dump(told, Dumper=Text, sort_keys=False, width=100, allow_unicode=True)


def main() -> int:
    """Write the object, or check that it stands as it would be written."""
    text = rule()
    if OBJECT.exists() and OBJECT.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in sys.argv[1:]:
        print("k8s/monitoring/prometheus-rule.yaml is not what rules/ say; run: make docs")
        return 1
    OBJECT.write_text(text, encoding="utf-8")
    print("k8s/monitoring/prometheus-rule.yaml written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
