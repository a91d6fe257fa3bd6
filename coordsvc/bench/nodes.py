"""A Ray of several nodes on this machine: one accelerator each, in Ray's books only."""

from collections.abc import Callable

from ray._private.worker import global_worker
from ray.cluster_utils import Cluster

from coordsvc.serving.local import LocalService, Ports

STORE_BYTES = 80 << 20
"""Of each node, for objects: hardly any travel here."""


class SimulatedNodes(LocalService):
    """A local service on a head node without accelerators, and nodes that have one and no CPU."""

    def __init__(self, ports: Ports, cpus: int, nodes: int) -> None:
        super().__init__(ports, cpus)
        self._nodes = nodes
        # its own head would write down its address where others on this machine look for theirs
        self._cluster = Cluster()

    def start(self, say: Callable[[str], None]) -> None:
        """Have Ray and Serve running, and all nodes there."""
        super().start(say)
        say(f"starting {self._nodes} nodes")
        for _ in range(self._nodes):
            self.add_node()

    def start_ray(self, folder: str) -> None:
        """Start the head."""
        super().start_ray(folder)
        head = global_worker.node
        assert head is not None, "this process started it"
        self._cluster.head_node = head
        self._cluster.redis_address = head.redis_address

    def add_node(self) -> None:
        """Add a node with an accelerator, and wait until Ray knows of it."""
        self._cluster.add_node(num_cpus=0, num_gpus=1, object_store_memory=STORE_BYTES)

    def stop_ray(self) -> None:
        """End the nodes, and then the head."""
        for node in tuple(self._cluster.worker_nodes):
            self._cluster.remove_node(node)
        super().stop_ray()
