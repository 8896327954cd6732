"""Work that nobody waits for longer than they like: runs are judged on a thread that ends with the program."""

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Background:
    """Do one piece of work after another on a daemon thread.

    Example:
        >>> done, background = [], Background()
        >>> background.submit(lambda: done.append(1))
        >>> background.wait(10.0), done
        (True, [1])
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._idle = threading.Condition()
        self._waiting = 0
        self._thread: threading.Thread | None = None

    def submit(self, work: Callable[[], object]) -> None:
        """Have some work done; what it raises is its own affair."""
        with self._idle:
            self._waiting += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="undertow judges runs", daemon=True)
                self._thread.start()
        self._queue.put(work)

    def wait(self, seconds: float) -> bool:
        """Wait until all is done, or so long; tell whether all is."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._waiting, seconds)

    def _work(self) -> None:
        while True:
            try:
                self._queue.get()()
            except Exception:  # noqa: S110  # a run that can't be judged is listed without a verdict
                pass
            finally:
                with self._idle:
                    self._waiting -= 1
                    self._idle.notify_all()
