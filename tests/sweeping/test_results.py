"""What can be asked of a store, held to the same thing worked out by hand; files for other programs; the page."""

import threading

import pytest

from undertow.sweeping import open_sweep, sweep
from undertow.sweeping.cells import CellOutcome
from undertow.sweeping.store import Finished, Store

HOSTILE = "<script>document['title']='broken'</script>*x* $y$ [a](#b) `c` ```"


def stored(path, cells):
    """A store of (settings, result) pairs; a result that is a text is an error."""
    with Store(path) as store:
        store.note("work", "test")
        store.note("name", "made up")
        keys = [f"k{i}" for i in range(len(cells))]
        store.plan("test", ((key, cell) for key, (cell, _) in zip(keys, cells, strict=True)))
        outcomes = [CellOutcome(None, r, f"Traceback: {r}") if isinstance(r, str) else CellOutcome(r) for _, r in cells]
        store.write(Finished(k, o, 1, 1, 0.1) for k, o in zip(keys, outcomes, strict=True))
    return open_sweep(path)


def test_a_store_can_be_read_while_it_grows(tmp_path):
    path = tmp_path / "a.sweep"
    stored(path, [({"n": 0}, {"v": 0})])
    seen, over = [], threading.Event()

    def read():
        while not over.is_set():
            rows = open_sweep(path).rows()
            assert [row["v"] for row in rows] == [row["n"] for row in rows]
            seen.append(len(rows))

    reader = threading.Thread(target=read)
    reader.start()
    with Store(path) as store:
        store.plan("test", ((f"m{n}", {"n": n}) for n in range(1, 200)))
        for n in range(1, 200):
            store.write([Finished(f"m{n}", CellOutcome({"v": n}), 1, 1, 0.0)])
    over.set()
    reader.join()
    assert seen == sorted(seen)
    assert len(open_sweep(path).rows()) == 200


def test_nothing_finished_is_nothing_to_write(tmp_path):
    with Store(tmp_path / "a.sweep") as store:
        store.note("work", "test")
        store.plan("test", [("k", {"n": 1})])
    with pytest.raises(ValueError, match="no finished cells yet"):
        open_sweep(tmp_path / "a.sweep").save(tmp_path / "a.html")


def test_names_and_errors_on_the_page_are_text(tmp_path):
    cells = [({HOSTILE: HOSTILE + str(i), "n": i}, {HOSTILE: i, "text": HOSTILE}) for i in range(4)]
    page = (
        stored(tmp_path / "a.sweep", [*cells, ({HOSTILE: "z", "n": 9}, HOSTILE)]).save(tmp_path / "a.html").read_text()
    )
    assert "<script>document" not in page
    assert "Cells that failed" in page
    assert "Traceback: &lt;script&gt;" in page


def test_a_page_holds_as_many_cells_as_a_browser_can_regroup(tmp_path, monkeypatch):
    monkeypatch.setattr("undertow.sweeping.page.MOST_ROWS", 100)
    many = [({"n": n, "seed": s}, {"v": float(s)}) for n in range(100) for s in range(2)]
    assert '"v":0.5' in stored(tmp_path / "a.sweep", many).save(tmp_path / "a.html").read_text(), "the mean over seeds"
    alone = [({"n": n}, {"v": 1.0}) for n in range(101)]
    with pytest.raises(ValueError, match=r"101 cells are more than one page can hold .* write \.parquet"):
        stored(tmp_path / "b.sweep", alone).save(tmp_path / "b.html")


def test_an_ensemble_keeps_the_numbers_of_its_members(tmp_path):
    from undertow.lab import Ensemble

    nets = Ensemble([3, 4, 2], numbers=[7, 2, 7], seed=5)
    for place, number in enumerate([7, 2, 7]):
        alone = Ensemble([3, 4, 2], seed=5, first_member=number)
        assert all((a.w[place] == b.w[0]).all() for a, b in zip(nets.layers, alone.layers, strict=True))
    nets.save(tmp_path / "nets.safetensors")
    assert Ensemble.load(tmp_path / "nets.safetensors").numbers == [7, 2, 7]


def test_a_sweep_of_one_cell_has_a_page(tmp_path):
    results = sweep({"cell": {"data": "digits", "images": 20}}, tmp_path / "a.sweep", processes=0)
    assert "one cell" in results.save(tmp_path / "a.html").read_text()
