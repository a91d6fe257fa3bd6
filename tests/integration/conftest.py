"""One Ray of the tests' own, with three applications on it, for all integration tests."""

from collections.abc import Iterator

import pytest

from coordsvc.serving.local import LocalService, Ports
from tests.collector import Collector
from tests.integration.apps import SCRIPTED, Services, application, written_keys, written_port_keys


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    service = LocalService(Ports(http=None), cpus=8)
    collector = Collector()
    config = {
        "applications": [
            application(
                "scripted",
                "/",
                {
                    "engine": SCRIPTED,
                    "tracing": {
                        "endpoint": collector.url,
                        "sample_ratio": 0.0,
                        "timeout_s": 1.0,
                        "service_name": "under-test",
                    },
                },
            ),
            application(
                "crowded",
                "/crowded",
                {
                    "engine": SCRIPTED,
                    "agents": {"checker": None},
                    "node": {"capacity": {"cpu": 2, "bandwidth_gbps": 2}},
                    "http": {"turns_in_flight_max": 2, "retry_after_s": 3},
                    "metrics": written_port_keys(tmp_path_factory.mktemp("port")),
                },
            ),
            application(
                "shared",
                "/shared",
                {
                    "engine": SCRIPTED,
                    "agents": {"checker": None},
                    "node": {"capacity": {"cpu": 2, "bandwidth_gbps": 2}},
                    "keys": {"file": str(written_keys(tmp_path_factory.mktemp("keys")))},
                    "tenants": {"steady": {"guarantee": {"cpu": 1}}, "flood": {}},
                },
            ),
            application(
                "real",
                "/real",
                {
                    "engine": {"kind": "openvino", "calibration_repeats": 1},
                    "served_model": "SmolLM2-135M-Instruct",
                    "http": {"max_tokens_default": 24},
                },
            ),
        ]
    }
    try:
        service.start(print)
        running = service.deploy(config, print)
        names = ("scripted", "crowded", "shared", "real")
        yield Services(*(running[name] for name in names), collector)
    finally:
        service.stop()
        collector.close()
