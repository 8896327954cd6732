"""Whatever fails and whoever is lost: every cell is over exactly once, and as it should be."""

from hypothesis import given
from hypothesis import strategies as st

from undertow.sweeping.cells import Cell, CellOutcome, Pack
from undertow.sweeping.scheduling import Schedule, carry_out
from undertow.sweeping.workers import PackReport, WorkerEvent

bad = st.sets(st.integers(0, 59), max_size=6)


class Pretended:
    """Workers that take no time: ``failing`` cells fail their pack, ``deadly`` ones take the worker with them."""

    def __init__(self, size, failing, deadly, unlucky):
        self.size, self.failing, self.deadly, self.unlucky, self.tasks = size, failing, deadly, unlucky, []

    @property
    def room(self):
        return self.size - len(self.tasks)

    def submit(self, task, packs):
        self.tasks.append((task, packs))

    def events(self, timeout):
        del timeout
        task, packs = self.tasks.pop()
        self.unlucky -= 1
        reports = []
        for place, pack in enumerate(packs):
            numbers = {cell.settings["number"] for cell in pack.cells}
            if numbers & self.deadly or self.unlucky == 0:
                return [WorkerEvent(task, reports, True, "lost")]
            outcome = CellOutcome(None, "failed", "trace") if numbers & self.failing else CellOutcome({"value": 1})
            reports.append(PackReport(place, [outcome] * len(pack.cells), 0.01))
        return [WorkerEvent(task, reports, True)]


@given(st.lists(st.integers(1, 8), max_size=12), st.integers(1, 4), st.integers(0, 3), bad, bad, st.integers(0, 20))
def test_every_cell_is_over_exactly_once(sizes, workers, retries, failing, deadly, unlucky):
    packs, number = [], 0
    for size in sizes:
        cells = tuple(Cell(f"k{number + i}", {"number": number + i}) for i in range(size))
        packs.append(Pack(cells, cost=float(size)))
        number += size
    over = []
    schedule = Schedule(packs, retries)
    carry_out(schedule, Pretended(workers, failing, deadly, unlucky), over.extend)
    assert sorted(f.key for f in over) == sorted(f"k{i}" for i in range(number))
    assert schedule.cost_done == sum(sizes)
    wrong = {f"k{i}" for i in (failing | deadly) if i < number}
    assert {f.key for f in over if f.outcome.error} == wrong
