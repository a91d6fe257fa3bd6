"""A Ray of our own on this machine, with the application on it: for `coordsvc up`, bench, tests.

It never joins another Ray, never stops one, and leaves nothing behind. What is deployed is a Serve
config file's content, in the way that stock `serve deploy` deploys it.
"""

import errno
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatusOverview, ServeDeploySchema

from coordsvc.core.errors import EngineBroken
from coordsvc.serving.actors import stop_actors
from coordsvc.serving.ray_pool import find, instruments_name
from coordsvc.settings import SettingsError

POLL_S = 0.25
START_S_MAX = 600.0
"""An engine may have to load a large model; a smaller limit would call that a failure."""
RELEASE_S_MAX = 65.0
"""The kernel keeps a port of a stopped server for a minute."""
DIRECT_PORTS = 100
"""How many ports from the first one ingress replicas may take."""
RAY_WORKER_PORTS = range(10_002, 20_000)
"""Ray's own workers listen here."""
OUR_ERRORS = "coordsvc.core.errors."
ENGINE_FAILED = ("DEPLOY_FAILED", "UNHEALTHY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where a local service listens; None takes any that is free."""

    host: str = "127.0.0.1"
    http: int | None = 8000
    """Serve's proxy: stable, whatever replicas come and go."""
    direct: int | None = None
    """The ingress replicas themselves: the proxy's hop saved."""
    metrics: int | None = None
    """None leaves what the settings say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A service that is ready."""

    app: str
    url: str
    direct_url: str
    metrics_url: str
    ray_address: str


class LocalService:
    """Starts a Ray of its own, deploys on it, and takes all of it down again."""

    def __init__(self, ports: Ports, cpus: int | None = None, gpus: int | None = None) -> None:
        """Say what Ray shall believe that the machine has; None leaves it what it has."""
        self._ports = ports
        self._cpus = cpus
        self._gpus = gpus
        self._apps: list[str] = []
        self._folder: str | None = None

    def start(self, say: Callable[[str], None]) -> None:
        """Have Ray and Serve running; `say` is told of each long step."""
        http = self._port(self._ports.http, "the HTTP port (--port)", say)
        direct = self._port(self._ports.direct, "the direct port (--direct-port)", say)
        self._http_port = http
        # read by Serve's processes when they start, so they must be set before Ray is
        os.environ.setdefault("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # nothing stands in front of the ingress here that would have to notice first
        os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "0.5")
        os.environ["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"] = str(direct)
        os.environ["RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"] = str(direct + DIRECT_PORTS)
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        say("starting Ray")
        self._folder = tempfile.mkdtemp(prefix="coordsvc-")
        self.start_ray(self._folder)
        say("starting Serve")
        serve.start(
            http_options={"host": self._ports.host, "port": http}, proxy_location="HeadOnly"
        )

    def start_ray(self, folder: str) -> None:
        """Start a Ray of one node, which keeps its files in `folder`."""
        ray.init(
            address="local",
            num_cpus=self._cpus or max(2, os.cpu_count() or 2),
            num_gpus=self._gpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=folder,
        )

    def deploy(self, config: Mapping[str, Any], say: Callable[[str], None]) -> dict[str, Running]:
        """Deploy a config file's content, wait until it is ready; tell where each app listens."""
        wanted = self._with_ports(config)
        self._apps = [application["name"] for application in wanted["applications"]]
        say(f"starting {', '.join(self._apps)}")
        _client().deploy_apps(ServeDeploySchema(**wanted))
        for name in self._apps:
            self._wait(name, say)
        return {one["name"]: self._running(one) for one in wanted["applications"]}

    def run(
        self, application: serve.Application, name: str, say: Callable[[str], None]
    ) -> tuple[DeploymentHandle[Any], str]:
        """Run an application without a door until it is ready.

        Returns the handle of its first deployment, and where its metrics are.
        """
        self._apps.append(name)
        say(f"starting {name}")
        try:
            handle: DeploymentHandle[Any] = serve.run(application, name=name, route_prefix=None)
        except RuntimeError as error:  # Serve's word for a deployment that failed
            found = serve.status().applications.get(name)
            cause = _cause(found) if found is not None else str(error)
            raise EngineBroken(f"{name} did not start: {cause}") from error
        return handle, f"http://{self._ports.host}:{_metrics_port(name)}/metrics"

    def stop(self) -> None:
        """End what was started here, and nothing else; calling it twice does no harm."""
        if ray.is_initialized():
            for app in self._apps:
                serve.delete(app)  # drains its replicas; the rest ends with our Ray
                stop_actors(app)
            self.stop_ray()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def stop_ray(self) -> None:
        """End the Ray that was started here."""
        ray.shutdown()

    def _running(self, application: Mapping[str, Any]) -> Running:
        name, host = application["name"], self._ports.host
        prefix = str(application.get("route_prefix", "/")).rstrip("/")
        return Running(
            app=name,
            url=f"http://{host}:{self._http_port}{prefix}",
            direct_url=f"http://{host}:{_direct_port(name)}{prefix}",
            metrics_url=f"http://{host}:{_metrics_port(name)}/metrics",
            ray_address=str(ray.get_runtime_context().gcs_address),
        )

    def _with_ports(self, config: Mapping[str, Any]) -> dict[str, Any]:
        wanted = {**config, "applications": [dict(one) for one in config["applications"]]}
        wanted["http_options"] = {"host": self._ports.host, "port": self._http_port}
        wanted["proxy_location"] = "HeadOnly"
        if self._ports.metrics is not None:
            for application in wanted["applications"]:
                args = dict(application.get("args") or {})
                args["metrics"] = {**args.get("metrics", {}), "port": self._ports.metrics}
                application["args"] = args
        return wanted

    def _wait(self, app: str, say: Callable[[str], None]) -> None:
        said: dict[str, str] = {}
        deadline = time.monotonic() + START_S_MAX
        while time.monotonic() < deadline:
            found = serve.status().applications.get(app)
            if found is not None:
                for name, deployment in found.deployments.items():
                    if said.get(name) != deployment.status:
                        said[name] = deployment.status
                        say(f"  {name}: {deployment.status.lower()}")
                if found.status == "RUNNING":
                    return
                if found.status in ENGINE_FAILED:
                    raise EngineBroken(f"{app} did not start: {_cause(found)}")
            time.sleep(POLL_S)
        raise EngineBroken(f"{app} was not ready after {START_S_MAX:.0f} s")

    def _port(self, wanted: int | None, what: str, say: Callable[[str], None]) -> int:
        """Return a port that can be bound, waiting for one that the kernel has yet to release."""
        if wanted is None:
            return _any_free_port(self._ports.host)
        if wanted in RAY_WORKER_PORTS:
            raise SettingsError(f"{what} {wanted}: 10002 to 19999 belong to Ray's own workers")
        deadline = time.monotonic() + RELEASE_S_MAX
        told = False
        while (fault := _bind_fault(self._ports.host, wanted)) is not None:
            taken = fault.errno == errno.EADDRINUSE and _answers(self._ports.host, wanted)
            if taken or fault.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise SettingsError(
                    f"{what} {wanted} cannot be used: {fault.strerror}; name another"
                )
            if not told:
                say(f"waiting until the system releases port {wanted}")
                told = True
            time.sleep(1)
        return wanted


def _client() -> Any:
    client = _get_global_client()
    assert client is not None, "Serve has been started"
    return client


def _direct_port(app: str) -> int:
    """Return the port of the app's ingress replica; Serve tells it in its details only."""
    groups = _client().get_serve_details()["target_groups"]
    for group in groups:
        if group["app_name"] == app and group["targets"]:
            return int(group["targets"][0]["port"])
    raise EngineBroken(f"{app} has no ingress replica")


def _metrics_port(app: str) -> int:
    actor = find(instruments_name(app))
    if actor is None:
        raise EngineBroken(f"{app} has no instruments")
    port: Any = ray.get(actor.port.remote(), timeout=30)
    return int(port)


def _cause(status: ApplicationStatusOverview) -> str:
    """Return the last line of whatever Serve says, which names the error."""
    messages = [status.message, *(one.message for one in status.deployments.values())]
    lines = [line.strip() for message in messages for line in message.splitlines() if line.strip()]
    telling = [line for line in lines if OUR_ERRORS in line] or [x for x in lines if "Error" in x]
    return (telling or lines or ["no reason given"])[-1]


def _bind_fault(host: str, port: int) -> OSError | None:
    """Return why the port cannot be bound in the way Serve binds it: without SO_REUSEADDR."""
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError as fault:
            return fault
    return None


def _answers(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def _any_free_port(host: str) -> int:
    """Return a free port outside Ray's workers' range."""
    while True:
        with socket.socket() as probe:
            probe.bind((host, 0))
            port = int(probe.getsockname()[1])
        if port not in RAY_WORKER_PORTS and port + DIRECT_PORTS < 65_536:  # noqa: PLR2004
            return port
