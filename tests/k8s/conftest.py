"""What the tests of k8s/ share."""

import pytest
import yaml

from tests.k8s.manifests import ROOT, Manifest

EXAMPLE = ROOT / "k8s/secrets.example.yaml"


@pytest.fixture(scope="session")
def example_secrets() -> list[Manifest]:
    return [one for one in yaml.safe_load_all(EXAMPLE.read_text()) if one]
