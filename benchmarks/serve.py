"""How soon a large run is on the screen, and how soon a step is: python benchmarks/serve.py

A real Chromium asks a real server. Shown means drawn: all pictures on the screen, and the causes at the last step.
"Processor" is what the server and all of the browser's processes took for it together: on two idle cores the wall shows
less, on busy ones more. A step's lag runs from the moment the training process hands it over to the moment the page has
drawn it; both read the same clock.
"""

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rounds import table
from undertow.diagnosis import Diagnosis
from undertow.render.diagnosed_run import DiagnosedRun
from undertow.render.run_page import html
from undertow.store import open_run, save_run
from undertow.watching import RunWriter

TESTS = Path(__file__).parents[1] / "tests"
sys.path[1:1] = [str(TESTS), str(TESTS / "serving")]
from processes import serving, training

from reading import chromium
from sample_runs import large

READY = "return document.documentElement.dataset.shown !== undefined && /\\d/.test(arguments[0].textContent)"
WITNESS = """window.seen = [];
  const at = document.querySelector("[data-part='at']");
  const now = () => (performance.timeOrigin + performance.now()) / 1000;
  const note = () => seen.push([Number(at.textContent.replaceAll(',', '')), now()]);
  new MutationObserver(note).observe(at, { childList: true });"""


def processor() -> float:
    """Seconds that this process's descendants have run so far."""
    parents, ticks = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            fields = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)] = int(fields[1])
            ticks[int(stat.parent.name)] = int(fields[11]) + int(fields[12])
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(ticks[pid] for pid in ours - {os.getpid()}) / os.sysconf("SC_CLK_TCK")


def until_drawn(browser, address: str) -> tuple[float, float]:
    """Seconds from asking for a page to all of it being there: on the wall, and of the processor."""
    browser.get("about:blank")
    began, used = time.perf_counter(), processor()
    browser.get(address)
    moment = browser.find_element("css selector", "[data-part='moment']")
    while not browser.execute_script(READY, moment):
        assert time.perf_counter() - began < 60, "never shown"
        time.sleep(0.01)
    return time.perf_counter() - began, processor() - used


def shown(browser, folder: Path, rounds: int) -> dict[str, list[tuple[float, float]]]:
    seconds: dict[str, list[tuple[float, float]]] = {"a server that never saw it": [], "again": []}
    for _ in range(rounds):
        with serving(folder) as address:
            page = f"{address}run?name=large.undertow"
            seconds["a server that never saw it"].append(until_drawn(browser, page))
            seconds["again"].append(until_drawn(browser, page))
    return seconds


def lags(browser, address: str, latest: Callable[[], list[tuple[int, float]]], seconds: float) -> list[float]:
    """Of every step handed over while the page was open, in seconds."""
    until_drawn(browser, address)
    browser.execute_script(WITNESS)
    began = time.time()
    time.sleep(seconds)
    given = [(step, when) for step, when in latest() if began < when < began + seconds - 5]
    seen = browser.execute_script("return seen")
    return [min(at for step, at in seen if step >= wanted) - when for wanted, when in given]


@contextmanager
def going_on(path: Path) -> Iterator[Callable[[], list[tuple[int, float]]]]:
    """The large run goes on by ten steps a second, from a process that does nothing else."""
    given: list[tuple[int, float]] = []
    ends = threading.Event()

    def write() -> None:
        run = open_run(path)
        last = int(run.steps["step"][-1])
        by_site, by_edge = ({k: c[-1] for k, c in group.items()} for group in (run.columns, run.edge_columns))
        with RunWriter(path, run.header, resume=True) as writer:
            graph = writer.graph(run.sites, run.edges)
            while not ends.wait(0.1):
                last += 1
                writer.scalars(last, last * 0.01, {"loss": 0.1})
                writer.taped(last, last * 0.01, graph, by_site, by_edge, {"loss": 0.1})
                given.append((last, time.time()))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield lambda: given
    finally:
        ends.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long steps are watched")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, chromium(Path(folder, "profile")) as browser:
        runs = Path(folder, "runs")
        runs.mkdir()
        run = large()
        save_run(run, runs / "large.undertow")
        times = shown(browser, runs, options.rounds)
        Path(folder, "large.html").write_text(html(DiagnosedRun(Diagnosis(run)), "large"), encoding="utf-8")
        page = Path(folder, "large.html").as_uri()
        times["the page that `undertow show --out` writes"] = [
            until_drawn(browser, page) for _ in range(options.rounds)
        ]
        rows = []
        for name, both in times.items():
            wall, used = zip(*both, strict=True)
            rows.append([name, *(f"{v:.2f}" for v in (statistics.median(wall), max(wall), statistics.median(used)))])
        print(f"200 Sites x 20,000 taped steps; {os.getloadavg()[0]:.1f} processes wanted the {os.cpu_count()} cores\n")
        print(table(["opened from", "median, s", "worst, s", "processor, s"], rows))
        found = {}
        with going_on(runs / "large.undertow") as given, serving(runs) as address:
            found["20,000 steps x 200 Sites, ten steps a second"] = lags(
                browser, f"{address}run?name=large.undertow", given, options.seconds
            )
        with training(runs / "small.undertow") as latest, serving(runs) as address:
            found["a network that trains, as fast as it goes"] = lags(
                browser, f"{address}run?name=small.undertow", latest.all, options.seconds
            )
        rows = [[name, len(s), f"{statistics.median(s):.2f}", f"{max(s):.2f}"] for name, s in found.items()]
        print("\nfrom a step to the screen\n")
        print(table(["run", "steps", "median, s", "worst, s"], rows))


if __name__ == "__main__":
    main()
