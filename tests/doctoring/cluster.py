"""Treat a training on a real Ray cluster of two nodes, and kill one of them while trials are made.

Prints one line of JSON: the verdict, and how many nodes are left.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import ray

from clusters import two_nodes
from doctoring.lines import lines
from undertow.doctoring import doctor


def main():
    cluster, doomed = two_nodes()
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    rounds = []

    def tell(line):
        rounds.append(line)
        if "race over" in line and sum("race over" in each for each in rounds) == 2:
            cluster.remove_node(doomed, allow_graceful=False)

    treatment = doctor(lines(1e-6), budget=600, seeds=3, ray=cluster.address, tell=tell)
    until = time.monotonic() + 60
    while sum(node["Alive"] for node in ray.nodes()) > 1 and time.monotonic() < until:
        time.sleep(0.5)
    sys.stdout.write(
        json.dumps({"verdict": treatment.verdict, "alive": sum(node["Alive"] for node in ray.nodes())}) + "\n"
    )


if __name__ == "__main__":
    main()
