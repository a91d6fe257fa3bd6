"""The service under load, a real Prometheus that scrapes it, and every expression that we ship.

Prometheus scrapes it twice: once with the labels that a cluster's scraping gives, once without any.
Panels, rules and variables must find their data either way.
"""

import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.monitoring.boards import (
    RULES,
    Asked,
    alerts,
    chosen,
    dashboards,
    marks,
    records,
    rules,
    selectors,
    targets,
)

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(240)]

COORDSVC = [sys.executable, "-m", "coordsvc.cli"]
SETTLED_S = 20.0
"""Of load before anything is asked: some scrapes, and a minute's window that has begun."""
TALKERS = 6
JOBS = ("coordsvc", "bare")

OFF = "that part is switched off here"
NOTHING_WRONG = "it did not happen in these seconds"
TOO_SOON = "it takes more than these seconds to know"
MAY_BE_EMPTY = {
    "Shares of tenants": OFF,
    "Autoscaling": OFF,
    "C_coord that autoscaling goes by": OFF,
    "Decisions of autoscaling": OFF,
    "Turns by tenant": OFF,
    "Filters, gangs, preemptions": NOTHING_WRONG,
    "Bounds that were reached": NOTHING_WRONG,
    "Universal Scalability Law": TOO_SOON,
    "Best concurrency": TOO_SOON,
    "Time to cross": NOTHING_WRONG,
}
"""Panels of which an expression may have no data here, and why; all others must have some."""
SELECTORS_MAY_BE_EMPTY = {
    "coordsvc_scaling_wanted": OFF,
    "coordsvc_scaling_bound": OFF,
    "coordsvc_offers_total": NOTHING_WRONG,  # declined, expired
}


def deployment(folder: Path) -> Path:
    """A service with less room than is asked for: somebody always waits."""
    told = {
        "proxy_location": "HeadOnly",
        "http_options": {"host": "127.0.0.1", "port": 8000},
        "applications": [
            {
                "name": "coordsvc",
                "route_prefix": "/",
                "import_path": "coordsvc.serving.app:build",
                "args": {
                    "engine": {"kind": "emulated", "reply_tokens": 8, "speed": 2},
                    "node": {"capacity": {"cpu": 4, "bandwidth_gbps": 4}},
                    "offers": {"policy": {"name": "utility"}},
                    "decision_log": {"folder": str(folder / "log")},
                },
            }
        ],
    }
    path = folder / "watched.yaml"
    path.write_text(yaml.safe_dump(told))
    return path


@dataclass(frozen=True)
class Watched:
    """A service under load, and the Prometheus that watches it."""

    service: dict[str, Any]
    environment: dict[str, str]
    prometheus: httpx.Client

    def ask(self, path: str, **query: Any) -> Any:
        """Return what Prometheus's API says; what it refuses fails the test."""
        answer = self.prometheus.get(f"/api/v1/{path}", params=query)
        told = answer.json()
        assert told["status"] == "success", f"{query}: {told.get('error')}"
        return told["data"]

    def values(self, expr: str) -> list[float]:
        """Return the values of an expression now; none of them is a NaN."""
        found = [float(series["value"][1]) for series in self.ask("query", query=expr)["result"]]
        assert not any(map(math.isnan, found)), f"{expr} has a NaN"
        return found


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    folder = tmp_path_factory.mktemp("watched")
    environment = {**os.environ, "COORDSVC_STATE_DIR": str(folder / "runs")}
    process = subprocess.Popen(
        [*COORDSVC, "up", str(deployment(folder)), "--port", "0", "--metrics-port", "0", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield json.loads(process.stdout.readline()), environment
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stdout.close()


@pytest.fixture(scope="module")
def _load(service: tuple[dict[str, Any], dict[str, str]]) -> Iterator[None]:
    """Keep some users talking."""
    over = threading.Event()
    url = f"{service[0]['direct_url']}/v1/chat/completions"

    def talk(number: int) -> int:
        said = 0
        with httpx.Client(timeout=30) as client:
            while not over.is_set():
                message = {"role": "user", "content": f"Tell me of {number} and {said}."}
                body = {"model": "emulated-8b", "messages": [message], "max_tokens": 8}
                client.post(url, json=body).raise_for_status()
                said += 1
        return said

    with ThreadPoolExecutor(TALKERS) as talkers:
        talks = [talkers.submit(talk, number) for number in range(TALKERS)]
        try:
            yield
        finally:
            over.set()
        assert all(one.result(60) for one in talks)


@pytest.fixture(scope="module")
def watched(
    service: tuple[dict[str, Any], dict[str, str]],
    _load: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Watched]:
    """A Prometheus of our own, on a port that it alone has, with our rules."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not here: apt-get install prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    metrics = httpx.URL(service[0]["metrics_url"])
    scraped = {"targets": [f"{metrics.host}:{metrics.port}"]}
    labels = {"application": "coordsvc", "cluster": "here", "namespace": "tests"}
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in sorted(RULES.glob("*.yaml"))],
        "scrape_configs": [
            {"job_name": "coordsvc", "static_configs": [{**scraped, "labels": labels}]},
            {"job_name": "bare", "static_configs": [scraped]},
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            program,
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            seen = Watched(*service, client)
            until(lambda: _scraped(seen), "both jobs are scraped")
            threading.Event().wait(SETTLED_S)  # nothing tells when enough has been scraped
            yield seen
    finally:
        process.terminate()
        process.wait(30)


def until(so: Callable[[], bool], what: str, limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not so():
        assert time.monotonic() < deadline, f"not within {limit_s:.0f} s: {what}"
        threading.Event().wait(0.2)


def _scraped(seen: Watched) -> bool:
    try:
        ready = seen.prometheus.get("/-/ready").is_success  # until then it refuses to be asked
        return ready and len(seen.values("up == 1")) == len(JOBS)
    except httpx.TransportError:
        return False  # it is starting


@pytest.mark.parametrize("job", JOBS)
def test_every_panel_has_data_or_its_reason_not_to(watched: Watched, job: str) -> None:
    empty = {one.where for one in targets() if not watched.values(chosen(one.expr, job=job))}
    assert empty - set(MAY_BE_EMPTY) == set()
    known = {one.where for one in targets()}
    assert set(MAY_BE_EMPTY) <= known, "a reason for a panel that is no more"


@pytest.mark.parametrize("job", JOBS)
def test_every_rule_is_evaluated_and_recorded_ones_have_data(watched: Watched, job: str) -> None:
    told = [rule for group in watched.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in told} == {one.get("record") or one["alert"] for one in rules()}
    assert {rule["name"]: rule.get("lastError") for rule in told if rule["health"] != "ok"} == {}
    empty = [name for name in records() if not watched.values(f'{name}{{job="{job}"}}')]
    assert empty == []


def test_every_alert_rests_on_metrics_that_are_there(watched: Watched) -> None:
    """Its condition need not hold; but what it looks at must exist, or it could never fire."""
    missing = {
        (name, selector)
        for name, alert in alerts().items()
        for selector in selectors(alert["expr"])
        if not watched.values(selector) and selector.partition("{")[0] not in SELECTORS_MAY_BE_EMPTY
    }
    assert missing == set()


def test_alerts_and_marks_are_promql(watched: Watched) -> None:
    asked = [*marks(), *(Asked(name, alert["expr"]) for name, alert in alerts().items())]
    for one in asked:
        watched.values(chosen(one.expr))


def test_nothing_that_is_broken_is_said_to_be_while_all_is_well(watched: Watched) -> None:
    told = watched.ask("alerts")["alerts"]
    firing = {one["labels"]["alertname"] for one in told if one["state"] == "firing"}
    assert (
        firing
        & {
            "CoordsvcAllocatorDown",
            "CoordsvcFleetAccountOpen",
            "CoordsvcInstrumentsAbsent",
            "CoordsvcInstrumentsGone",
            "CoordsvcNodesNone",
            "CoordsvcReservationBroken",
            "CoordsvcTurnsFail",
        }
        == set()
    )


def test_variables_offer_what_scraping_gave(watched: Watched) -> None:
    (board,) = dashboards()
    offered = {}
    for one in board["templating"]["list"]:
        if one["type"] != "query":
            continue
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", one["query"])
        assert asked is not None
        selector, label = chosen(asked[1]), asked[2]
        offered[label] = watched.ask(f"label/{label}/values", **{"match[]": selector})
    assert offered == {
        "cluster": ["here"],
        "namespace": ["tests"],
        "application": ["coordsvc"],
        "job": ["bare", "coordsvc"],
        "agent": ["checker", "planner", "responder"],
    }


def test_the_five_states_are_all_there_is(watched: Watched) -> None:
    for job in JOBS:
        share = "application_state:coordsvc_share_seconds:ratio_rate5m"
        assert watched.values(f'sum({share}{{job="{job}"}})') == pytest.approx([1.0])


# coordsvc top


def top(watched: Watched, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COORDSVC, "top", "--once", *words],
        env={**watched.environment, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_top_shows_what_prometheus_knows(watched: Watched) -> None:
    told = top(watched, "--json", "--interval", "3")
    assert told.returncode == 0, told.stderr
    picture = json.loads(told.stdout)["picture"]
    assert picture["turns"]["per_s"]["answered"] > 0
    assert picture["turns"]["p50_s"] > 0
    assert sum(picture["fleet"]["states"].values()) == pytest.approx(1)
    assert sum(picture["c_coord_parts_s"].values()) > 0
    assert set(picture["agents"]) == {"planner", "responder", "checker"}
    assert (
        picture["capacity"]["cpu"]
        == watched.values('coordsvc_capacity{job="bare", resource="cpu"}')[0]
    )
    assert picture["allocator"]["silent_s"] < 30
    assert picture["allocator"]["policy"] == "utility"


def test_top_shows_it_to_people_by_address_too(watched: Watched) -> None:
    told = top(watched, "--url", watched.service["metrics_url"])
    assert told.returncode == 0, told.stderr
    for words in ("checker+planner+responder", "offer_wait", "computing", "S_measured", "utility"):
        assert words in told.stdout


def test_top_says_that_a_service_is_away(watched: Watched) -> None:
    told = top(watched, "--url", "http://127.0.0.1:9/metrics")
    assert told.returncode == 2
    assert "http://127.0.0.1:9/metrics cannot be read" in told.stderr
