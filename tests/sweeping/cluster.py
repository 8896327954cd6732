"""A real Ray cluster of two nodes on this machine, one of which is killed while a sweep runs. Not a test by itself."""

import json
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from clusters import two_nodes
from undertow.sweeping import open_sweep, sweep


def killed_midway(cluster, node, store, after, told):
    while not store.is_file() or open_sweep(store).counts()["done"] < after:
        time.sleep(0.02)
    told["done_when_killed"] = open_sweep(store).counts()["done"]
    cluster.remove_node(node, allow_graceful=False)


def alive(ray):
    """Nodes, as soon as the cluster has noticed that one is gone: a sweep may be over before it does."""
    for _ in range(600):
        found = sum(each["Alive"] for each in ray.nodes())
        if found == 1:
            return found
        time.sleep(0.1)
    return found


def main(spec, store, after):
    import ray

    cluster, node = two_nodes()
    cluster.wait_for_nodes()
    told = {}
    killer = threading.Thread(target=killed_midway, args=(cluster, node, store, after, told))
    killer.start()
    results = sweep(spec, store, ray=cluster.address)
    killer.join()
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    told["alive"] = alive(ray)
    sys.stdout.write(json.dumps({**results.counts(), **told}) + "\n")
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
