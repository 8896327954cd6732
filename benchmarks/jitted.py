"""JAX's best: jax.grad, jit, lax.scan over the mini-batches of an epoch, vmap over members, in a process of its own.

The process has one CPU, and JAX is told to use one thread. An epoch is one call of one compiled function.
"""

import importlib.util
import multiprocessing
import os
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

Params = list[tuple[NDArray[Any], NDArray[Any]]]

AVAILABLE = importlib.util.find_spec("jax") is not None
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


class Jitted:
    """Networks in the other process; params are w [R, n_out, n_in], b [R, n_out] a layer, R dropped for one."""

    def __init__(self, params: Params, x: NDArray[Any], y: NDArray[Any], eta: float, decay: float) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self._ask(params, x, y, eta, decay)

    def train(self, order: NDArray[Any]) -> float:
        """One epoch over the batches order [steps, m]; returns its seconds of CPU time, those of the pipe left out."""
        return float(self._ask(order))

    def params(self) -> Params:
        return list(self._ask(None))

    def close(self) -> None:
        self.connection.close()
        self.process.join()

    def _ask(self, *question: Any) -> Any:
        self.connection.send(question)
        return self.connection.recv()


def _serve(connection: Connection) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ |= {"XLA_FLAGS": ONE_THREAD, "JAX_PLATFORMS": "cpu"}
    import jax

    start, x, y, eta, decay = connection.recv()
    jax.config.update("jax_enable_x64", x.dtype == np.float64)  # type: ignore[no-untyped-call]
    params, x, y = jax.device_put((start, x, y))
    epoch = _epoch(eta, decay, vmapped=params[0][0].ndim == 3)
    connection.send(None)
    try:
        while True:
            (order,) = connection.recv()
            if order is None:
                connection.send(jax.device_get(params))
                continue
            begun = time.process_time()
            params = jax.block_until_ready(epoch(params, x, y, order))  # type: ignore[no-untyped-call]
            connection.send(time.process_time() - begun)
    except EOFError:
        return


def _epoch(eta: float, decay: float, *, vmapped: bool) -> Any:
    import jax
    import jax.numpy as jnp

    def cost(params: Any, x: Any, y: Any) -> Any:
        a = x
        for w, b in params[:-1]:
            a = jax.nn.sigmoid(a @ w.T + b)
        w, b = params[-1]
        z = a @ w.T + b
        return jnp.sum(jnp.logaddexp(0.0, z) - y * z) / len(x)  # cross-entropy of sigmoid(z)

    def step(params: Any, x: Any, y: Any) -> Any:
        nablas = jax.grad(cost)(params, x, y)
        pairs = zip(params, nablas, strict=True)
        return [((1 - eta * decay) * w - eta * dw, b - eta * db) for (w, b), (dw, db) in pairs]

    members = jax.vmap(step, in_axes=(0, None, None)) if vmapped else step

    def epoch(params: Any, x: Any, y: Any, order: Any) -> Any:
        return jax.lax.scan(lambda p, chosen: (members(p, x[chosen], y[chosen]), None), params, order)[0]

    return jax.jit(epoch, donate_argnums=0)
