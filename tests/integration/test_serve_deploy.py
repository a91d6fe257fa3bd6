"""Stock `ray start` and `serve deploy` take our files unchanged."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def free_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if not 10_002 <= port < 20_000:
            return port


@pytest.fixture
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A Ray head of our own, ended by its handle; other Rays on this machine are left alone."""
    folder = tmp_path_factory.mktemp("r")
    port = free_port()
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    environment.pop("RAY_ADDRESS", None)
    head = subprocess.Popen(
        [
            BIN / "ray", "start", "--head", "--block", "--num-cpus=4", f"--temp-dir={folder}",
            f"--port={free_port()}", f"--dashboard-port={port}",
            f"--dashboard-agent-listen-port={free_port()}",
            f"--ray-client-server-port={free_port()}",
            f"--metrics-export-port={free_port()}", "--include-dashboard=true",
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}", environment
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        try:
            head.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(head.pid, signal.SIGKILL)
            head.wait()


def deploy(path: Path, address: str, environment: dict[str, str]) -> None:
    """Deploy as soon as the dashboard takes it: it needs some seconds after its head."""
    command = [BIN / "serve", "deploy", path, "--address", address]
    for _ in range(60):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        time.sleep(1)
    raise AssertionError(done.stderr)


def answered(url: str, body: dict[str, object]) -> dict[str, object]:
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    for _ in range(90):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except OSError:
            time.sleep(1)
    raise AssertionError(f"nothing answers at {url}")


def test_serve_deploy_takes_the_local_file(
    dashboard: tuple[str, dict[str, str]], tmp_path: Path
) -> None:
    address, environment = dashboard
    config = yaml.safe_load((ROOT / "deployments" / "two_agents.yaml").read_text())
    port = free_port()
    config["http_options"]["port"] = port
    config["applications"][0]["args"]["metrics"] = {"port": 0}
    path = tmp_path / "two_agents.yaml"
    path.write_text(yaml.safe_dump(config))
    deploy(path, address, environment)
    reply = answered(
        f"http://127.0.0.1:{port}",
        {
            "model": "SmolLM2-135M-Instruct",
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
            "max_tokens": 16,
        },
    )
    assert reply["choices"][0]["message"]["content"].strip()
    phases = reply["coordsvc"]["account"]["phases"]
    assert [phase["agent"] for phase in phases] == ["planner", "responder"]
