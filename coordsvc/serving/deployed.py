"""What Serve and Ray have running of an application: replicas, and engines' placement groups."""

from collections import Counter
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.util import placement_group_table

from coordsvc.core.errors import CoordinationError
from coordsvc.telemetry.service import Running

COUNTED = {"CREATED": "created", "PENDING": "pending", "RESCHEDULING": "pending"}
"""Ray's states of placement groups that are there, and ours."""
RUNNING = "RUNNING"


class Deployed:
    """Asks for one application. Its calls block."""

    def __init__(self, app: str, engine: str) -> None:
        self._app = app
        self._engine = f"::{app}#{engine}#"
        """Serve names a replica's placement group for the replica: app, deployment, its id."""

    def look(self) -> Running:
        """Return what there is now; raise `CoordinationError` where nobody can say."""
        try:
            status = serve.status()
            table: dict[str, dict[str, Any]] = placement_group_table()
        except (RayError, RayServeException) as error:
            raise CoordinationError(f"Serve does not answer: {error}") from error
        application = status.applications.get(self._app)
        deployments = application.deployments if application else {}
        groups = Counter({"created": 0, "pending": 0})
        for group in table.values():
            if self._engine in group["name"] and group["state"] in COUNTED:
                groups[COUNTED[group["state"]]] += 1
        return Running(
            replicas={
                name: sum(n for state, n in one.replica_states.items() if state == RUNNING)
                for name, one in deployments.items()
            },
            groups=groups,
        )
