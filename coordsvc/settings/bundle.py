"""An amount of each resource, as settings say it."""

from typing import Annotated

from pydantic import AfterValidator, Field

from coordsvc.core.resources import Resources, milli
from coordsvc.settings.node import Node


def _exact(amount: float) -> float:
    milli(amount)  # refuses what thousandths cannot say
    return amount


Amount = Annotated[float, Field(ge=0, le=1_000_000), AfterValidator(_exact)]


class Bundle(Node):
    """An amount of each resource; at most three decimals, so that arithmetic is exact."""

    gpu: Amount = 0.0
    """GPUs."""
    cpu: Amount = 0.0
    """CPU cores."""
    bandwidth_gbps: Amount = 0.0
    """Gb/s; accounted, not enforced."""

    def resources(self) -> Resources:
        """Return the same in the core's whole numbers."""
        return Resources(
            gpu_milli=milli(self.gpu),
            cpu_milli=milli(self.cpu),
            bandwidth_mbps=milli(self.bandwidth_gbps),
        )
