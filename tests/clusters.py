"""A real Ray cluster of two nodes on this machine, for scripts that kill one of them."""

import os
from typing import Any


def two_nodes() -> tuple[Any, Any]:
    """The cluster, and its second node. A dead one is missed after five seconds, not after fifteen."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    soon = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000}
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": soon}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    return cluster, cluster.add_node(num_cpus=1)
