"""What judging a run through time costs, beside judging every one of its taped steps.

python benchmarks/judging.py [STEPS] [SITES]
"""

import sys
import time

import numpy as np

from undertow.record import Edge, Role, Run, Site
from undertow.rules import judge, over_time


def run_of(steps: int, count: int) -> Run:
    """A chain of layers and tanh whose gradient begins to vanish half way, with noise of five percent."""
    rng = np.random.default_rng(0)
    sites = [Site(0, "", "mse_loss", Role.LOSS)]
    for number in range(1, count):
        name = f"layers.{count - number}"
        if number % 2:
            own = {"n_out": 64, "parameters": (f"{name}.weight",), "weight_shape": (64, 64)}
            sites.append(Site(number, name, "addmm", Role.WEIGHT, (32, 64), **own))
        else:
            sites.append(Site(number, name, "tanh", Role.ACTIVATION, (32, 64), "tanh"))
    fading = np.where(np.arange(steps) < steps // 2, 0.0, -0.1)[:, None] * np.arange(count)
    gradient = (10**fading * np.exp(0.05 * rng.standard_normal((steps, count)))).astype(np.float32)
    progress = gradient**2 / (gradient**2).sum(1, keepdims=True)
    columns = {"grad_output": gradient, "weight_grad_norm": gradient, "progress": progress}
    columns |= {name: np.full_like(gradient, 0.5) for name in ("coherence", "saturated", "derivative_rms")}
    columns |= {name: np.full_like(gradient, 1e-3) for name in ("update_ratio", "dead", "nonfinite")}
    columns["nonfinite"] = np.zeros_like(gradient)
    edges = tuple(Edge(number, number + 1) for number in range(count - 1))
    along = {"contribution": gradient[:, 1:], "share": np.ones((steps, count - 1), np.float32)}
    counted = np.arange(float(steps))
    loss = 1 + 0.1 * rng.standard_normal(steps)
    return Run(
        {}, tuple(sites), edges, columns, along, {"step": counted, "loss": loss}, {"step": counted, "loss": loss}
    )


def main(steps: int = 20_000, count: int = 200) -> None:
    run = run_of(steps, count)
    began = time.process_time()
    findings = over_time(run)
    whole = time.process_time() - began
    began = time.process_time()
    for _ in range(10):
        judge([run])
    single = (time.process_time() - began) / 10
    print(f"{steps:,} taped steps of {count} Sites: {whole:.2f} s of one core; one step alone: {1000 * single:.1f} ms")
    print(f"ratio to judging every step: {whole / (single * steps):.4f}")
    for each in findings:
        print(f"  {each.code} from step {each.began:,}: {each.message}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
