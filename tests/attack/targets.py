"""What is attacked: each a room to work in and a function that makes one case and lets undertow go through it.

A case ends as one of: "same" (read as it was written), "told" (a warning, and what is left), "refused" (an error that
is raised on purpose, in a sentence), "done" (a case that isn't wrong enough to be refused). Anything else is a failure:
"traceback" (an error that nobody foresaw, or a rule that failed), "silent" (other numbers, and nobody says so), "hang".
"""

import asyncio
import contextlib
import gzip
import json
import signal
import sqlite3
import string
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from attack.mutations import bits_flipped, bytes_spoiled, value_spoiled
from undertow.cli import OURS, _told
from undertow.doctoring.budget import Budget
from undertow.record import EDGE_COLUMNS, SITE_COLUMNS, Edge, Event, Role, Run, Site
from undertow.report import Report, explain
from undertow.rules.failures import failures
from undertow.store import Batch, RunFile, open_run, save_run
from undertow.store.appender import about_graph
from undertow.store.ledger import sealed_text

SECONDS, WAITING = 20, 10
"""What a case may take of a core, and how many times that on the clock: it may be one of many processes."""

FAILURES = ("traceback", "silent", "hang")

SITES = (
    Site(0, "", "mean", Role.LOSS, (1,)),
    *(
        Site(i, f"layers.{i // 2}", ("addmm", "tanh")[i % 2], (Role.WEIGHT, Role.ACTIVATION)[i % 2], (8, 4),
             activation="tanh" if i % 2 else None, n_out=4, weight_shape=() if i % 2 else (4, 4),
             parameters=() if i % 2 else (f"layers.{i // 2}.weight",), module_type=("Linear", "Tanh")[i % 2])
        for i in range(1, 9)
    ),
)  # fmt: skip
EDGES = tuple(Edge(i, i + 1) for i in range(8))
HEADER = {
    "model": "Net", "optimizer": "SGD", "parameters": 64, "torch": "2.13", "loss": 2.3, "lr": 0.1, "scale": 1.0,
    "unreached": [], "not run": [], "dtypes": ["torch.float32"], "evaluation": {}, "pairs": [], "terms": [], "data": [],
    "zero gradients": [], "zero values": [], "other leaves": [],
    "held": {"reached": 4, "foreign": 0, "missing": [], "missing share": 0.0, "whole modules": False},
    "decay": {"weight_decay": 0.0, "decoupled": False}, "rates": {"zero": [], "begun": True, "initial": 0.1},
}  # fmt: skip
ROWS = 12


def run_of(rng):
    """A small Run in which every column was measured."""
    count, edges = len(SITES), len(EDGES)
    columns = {name: rng.random((ROWS, count)).astype(np.float32) for name in SITE_COLUMNS if name != "nonfinite"}
    return Run(
        dict(HEADER),
        SITES,
        EDGES,
        {**columns, "nonfinite": np.zeros((ROWS, count), np.float32)},
        {name: rng.random((ROWS, edges)).astype(np.float32) for name in EDGE_COLUMNS},
        {"step": np.arange(ROWS) * 10.0, "time": np.arange(ROWS) / 2, "loss": 1 / (1 + np.arange(ROWS))},
        {
            "step": np.arange(60.0), "time": np.arange(60) / 10, "loss": 1 / (1 + np.arange(60.0)),
            "grad_norm": rng.random(60), "lr": np.full(60, 0.1),
        },
        ("layers.1.weight", "layers.2.weight"),
        {name: rng.random((ROWS, 2)).astype(np.float32) for name in ("grad_norm", "update_ratio", "lr")},
        np.arange(ROWS) * 10.0,
        (Event(3, 0.3, "spike", "the loss rose", {"rise": 2.0}),),
    )  # fmt: skip


def gone_through(run, page=None, trusted=True):
    """Let every reader of a Run read it: rules, terminal, live page, and the saved page where a folder for it is given.

    Returns:
        Whether a rule failed: in words that a stranger forged it may, with a warning, and nowhere else.
    """
    from undertow.diagnosis import Diagnosis
    from undertow.render.run_series import RunSeries
    from undertow.render.run_view import run_view
    from undertow.render.step_view import step_view
    from undertow.store.exporting import table

    with failures() as failed:
        explanation = explain(run)
    assert not (failed and trusted), failed[0]
    explanation.text("a run")
    shown = explanation.run
    json.dumps(run_view(RunSeries(shown), shown.header, explanation.findings, shown.events, True), allow_nan=False)
    if len(shown):
        json.dumps(step_view(Diagnosis(shown, 0)), allow_nan=False)
    table(shown)
    if page is not None:
        explanation.save(page / "page.html")
    return bool(failed)


@dataclass
class Room:
    """A folder to work in, and what is made once for all cases."""

    folder: Path
    made: dict[str, Any] = field(default_factory=dict)

    def once(self, name, make):
        """Return what ``make`` makes, made at the first time."""
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]


def _saved(room):
    path = room.folder / "intact.undertow"
    save_run(run_of(np.random.default_rng(0)), path)
    return path.read_bytes(), open_run(path)


def _growing(room):
    """A file as a training leaves it that is killed: fresh rows, two layouts, no block yet of the last."""
    path, rng = room.folder / "growing.undertow", np.random.default_rng(1)
    file = RunFile.begin(path, HEADER, journal="rollback")
    for part in range(2):
        batch = Batch()
        for step in range(10 * part, 10 * part + 10):
            rows = {"grad_output": rng.random(9, np.float32), "learning_speed": rng.random(9, np.float32)}
            rows |= {"dead": rng.random(9, np.float32)} if part else {}
            edges = {"contribution": rng.random(8, np.float32), "share": np.ones(8, np.float32)}
            batch.taped(about_graph(SITES, EDGES), (9, 8), rows, edges, {"step": step, "time": step / 10, "loss": 1.0})
            batch.scalars({"step": step, "time": step / 10, "loss": 1 / (1 + step)})
        batch.event(Event(part, 0.5, "spike", "the loss rose", {"rise": 2.0}))
        file.commit(batch)
    content = path.read_bytes()
    file.close()
    path.write_bytes(content)
    return content, open_run(path)


def run_bits(room, rng):
    """A Run's file with some bits flipped."""
    content, intact = (
        room.once("saved", lambda: _saved(room)) if rng.integers(2) else room.once("growing", lambda: _growing(room))
    )
    path = room.folder / "case.undertow"
    path.write_bytes(bits_flipped(content, rng))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = open_run(path)
        gone_through(run)
    if not told:
        return "same" if run == intact else "silent"
    return "told"


def run_bytes(room, rng):
    """A Run's file with bytes overwritten, cut out or put in."""
    content, intact = room.once("growing", lambda: _growing(room))
    path = room.folder / "case.undertow"
    path.write_bytes(bytes_spoiled(content, rng))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = open_run(path)
        gone_through(run, room.folder if rng.integers(200) == 0 else None)
    if not told:
        return "same" if run == intact else "silent"
    return "told"


def run_forged(room, rng):
    """A Run's file whose words were exchanged for others by somebody who has mended its sums."""
    content, _ = room.once("growing", lambda: _growing(room))
    path = room.folder / "forged.undertow"
    path.write_bytes(content)
    with contextlib.closing(sqlite3.connect(path)) as file:
        which = int(rng.integers(4))
        if which == 0:
            header = _text(value_spoiled(HEADER, rng))
            file.execute("UPDATE meta SET value = ? WHERE key = 'header'", (sealed_text(header, "meta", "header"),))
        elif which == 1:
            (number, series, digest, about) = file.execute("SELECT * FROM subjects WHERE series = 'taped'").fetchone()
            about = _text(value_spoiled(json.loads(about[9:]), rng))
            sealed = sealed_text(about, "subjects", number, series, digest)
            file.execute("UPDATE subjects SET about = ? WHERE id = ?", (sealed, number))
        elif which == 2:
            (number, subject, columns) = file.execute("SELECT * FROM layouts").fetchone()
            columns = _text(value_spoiled(json.loads(columns[9:]), rng))
            sealed = sealed_text(columns, "layouts", number, subject)
            file.execute("UPDATE layouts SET columns = ? WHERE id = ?", (sealed, number))
        else:
            counts = {"subjects": 2, "events": 3, "rows": {"1": 10, "2": 20, "3": 10}}
            text = sealed_text(_text(value_spoiled(counts, rng)), "meta", "counts")
            file.execute("UPDATE meta SET value = ? WHERE key = 'counts'", (text,))
        file.commit()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return "told" if gone_through(open_run(path), trusted=False) else "done"


def run_numbers(room, rng):
    """A Run in which any number may be nan, infinite, huge, tiny or negative: steps and times, too."""
    run = room.once("run", lambda: run_of(np.random.default_rng(2)))
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e38, 1e-38, 1e300, 2.0**60, 0.5])
    groups = {}
    for group in ("columns", "edge_columns", "steps", "scalars", "parameter_columns"):
        groups[group] = {name: _some_odd(values, odd, rng) for name, values in getattr(run, group).items()}
    groups["parameter_steps"] = _some_odd(run.parameter_steps, odd, rng)
    with np.errstate(all="ignore"):
        gone_through(replace(run, **groups), room.folder if rng.integers(200) == 0 else None)
    return "done"


def _some_odd(values, odd, rng):
    if rng.integers(3):
        return values
    spoiled = values.copy()
    share = (0.02, 0.3, 1.0)[int(rng.integers(3))]
    with np.errstate(over="ignore"):
        chosen = odd[rng.integers(len(odd), size=values.shape)].astype(values.dtype)
    spoiled[...] = np.where(rng.random(values.shape) < share, chosen, values)
    return spoiled


def _report():
    from undertow.diagnosis import Diagnosis
    from undertow.rules import judge

    run = run_of(np.random.default_rng(3))
    return json.loads(json.dumps(Report(Diagnosis(run, 0, judge([run]))).to_dict()))


def report_json(room, rng):
    """A report's JSON with values exchanged, or its text spoiled."""
    intact = room.once("report", _report)
    path = room.folder / "report.json"
    text = _text(value_spoiled(intact, rng)).encode("utf-8", "replace")
    path.write_bytes(bytes_spoiled(text, rng) if rng.integers(3) == 0 else text)
    report = Report.read(path)
    str(report)
    report.compare(report)
    json.dumps(report.to_dict(), allow_nan=False)
    for finding in report.findings:
        str(finding)
    if rng.integers(100) == 0:
        report.save(room.folder / "report.html")
    return "done"


def _text(value):
    try:
        return json.dumps(value)
    except ValueError:  # a number of too many digits
        return "[]"


def _sweep_store(room):
    from undertow.sweeping.cells import CellOutcome
    from undertow.sweeping.store import Finished, Store

    path = room.folder / "intact.sweep"
    with Store(path) as kept:
        kept.note("name", "intact")
        kept.note("work", "lab")
        kept.plan("lab", ((f"k{i}", {"depth": i, "eta": 0.5, "act": "tanh"}) for i in range(12)))
        done = [Finished(f"k{i}", CellOutcome({"accuracy": i / 12}), 1, 1, 0.5) for i in range(9)]
        kept.write([*done, Finished("k9", CellOutcome(None, "ValueError: no", "Traceback"), 2, 1, 0.5)])
    from undertow.sweeping import open_sweep

    return path.read_bytes(), open_sweep(path).rows(None)


def sweep_store(room, rng):
    """The store of a sweep with bytes flipped, cut out or put in."""
    from undertow.sweeping import open_sweep

    content, before = room.once("sweep", lambda: _sweep_store(room))
    path = room.folder / "case.sweep"
    path.write_bytes(bits_flipped(content, rng) if rng.integers(3) else bytes_spoiled(content, rng))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        results = open_sweep(path)
        rows = results.rows(None)
        results.counts(), results.swept(), results.failed()
    if any(row not in before for row in rows):
        return "silent"
    return "told" if told else "same" if rows == before else "silent"


SPEC = {
    "name": "a sweep", "version": 2, "seeds": 3, "cell": {"activation": "tanh", "eta": 0.1, "data": "digits"},
    "grid": {"depth": [1, 2, 3], "weight_var": {"from": 0.5, "to": 4.0, "count": 5, "spacing": "log"}},
    "random": {"draws": 4, "draw_seed": 1, "lmbda": {"from": 1e-3, "to": 1.0, "spacing": "log"}},
    "run": {"retries": 1, "members": 4, "timeout": 60},
}  # fmt: skip


def spec_values(_, rng):
    """A sweep's specification with values exchanged, planned as far as before the first cell."""
    from undertow.sweeping.running import SweepPlan
    from undertow.sweeping.spec import Spec

    spec = Spec.of(value_spoiled(SPEC, rng))
    if np.prod([len(axis) for grid in spec.grids for axis in grid.values()] or [1]) < 1000:
        SweepPlan.of(spec)
    return "done"


SPEC_TEXT = Path(__file__).with_name("spec.toml")


def spec_text(room, rng):
    """A specification's file with bytes spoiled."""
    from undertow.sweeping.spec import Spec

    path = room.folder / "spec.toml"
    path.write_bytes(bytes_spoiled(SPEC_TEXT.read_bytes(), rng))
    spec = Spec.read(path)
    next(spec.cells())
    return "done"


def project_section(room, rng):
    """A pyproject.toml whose [tool.undertow] was spoiled."""
    from undertow.silence import configured

    folder = room.folder / "project"
    folder.mkdir(exist_ok=True)
    text = b'[project]\nname = "x"\n[tool.undertow]\nsilence = ["UT602", "UT201:encoder.*"]\n'
    (folder / "pyproject.toml").write_bytes(bytes_spoiled(text, rng))
    configured(folder / "train.py")
    return "done"


def idx_file(room, rng):
    """An IDX file, plain or gzipped, with bytes spoiled."""
    from undertow.lab import idxfile

    images = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)
    plain = idxfile.encode(images)
    path = room.folder / "images"
    path.write_bytes(bytes_spoiled(gzip.compress(plain, mtime=0) if rng.integers(2) else plain, rng))
    idxfile.parse(idxfile.read(path, 1 << 20), 3, "images")
    return "done"


def ensemble_file(room, rng):
    """An ensemble's safetensors file with bytes or settings spoiled."""
    from undertow.lab import Ensemble

    def made():
        path = room.folder / "nets.safetensors"
        Ensemble([4, 3, 2], members=2, seed=0).save(path)
        return path.read_bytes()

    content = room.once("ensemble", made)
    path = room.folder / "case.safetensors"
    if rng.integers(2):
        path.write_bytes(bytes_spoiled(content, rng))
    else:
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        settings = json.loads(header["__metadata__"]["undertow"])
        header["__metadata__"]["undertow"] = _text(value_spoiled(settings, rng))
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + size :])
    Ensemble.load(path)
    return "done"


def trials_store(room, rng):
    """The doctor's store of trials, its results and its plan exchanged for others, with right sums."""
    from undertow.doctoring.trials import Cut, Trials
    from undertow.sweeping import open_sweep
    from undertow.sweeping.cells import CellOutcome
    from undertow.sweeping.store import Finished

    cuts = [Cut((), seed, 30) for seed in range(2)]
    path = room.folder / f"{rng.integers(1 << 60)}.trials"
    with Trials(room.once("training", _training), path, processes=0, fingerprint="a training") as trials:
        kept = {"losses": [2.0, 1.5, None], "scores": [[10, 0.5], [30, 0.9]], "start": 0.1, "diverged": None}
        plan = {"work": "trials of a training", "budget": {**PLAN}}
        cells = [trials._cell(cut) for cut in cuts]
        trials._kept.plan(trials._work.name, ((cell.key, cell.settings) for cell in cells))
        for cell in cells:
            made = value_spoiled({**kept, "seconds": 1.0, "steps": 3}, rng)
            trials._kept.write([Finished(cell.key, CellOutcome(made if isinstance(made, dict) else {}), 1, 1, 0.5)])
        with contextlib.suppress(ValueError):  # nan is no JSON
            trials._kept.note("plan", value_spoiled(plan, rng))
        known = trials.planned()
        assert known is None or Budget(**known).seconds >= 0
        made = trials.make(cuts)
        assert all(each.trial is not None or each.error for each in made.values())
    results = open_sweep(path)
    results.rows(None), results.counts()
    for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        each.unlink(missing_ok=True)
    return "done"


PLAN = {"seconds": 20.0, "step_seconds": 0.01, "workers": 1, "seeds": 5, "steps": 100, "score_seconds": 0.0}


def _training():
    import torch

    from undertow.training import Training

    batches = [(torch.ones(4, 2), torch.ones(4, 1))]
    return Training(
        model=lambda: torch.nn.Linear(2, 1),
        batches=batches,
        loss=torch.nn.functional.mse_loss,
        optimizer=lambda model: torch.optim.SGD(model.parameters(), 0.1),
        steps=100,
    )


def study_results(room, rng):
    """A study's results.json with values exchanged or bytes spoiled."""
    from undertow.studies.chapter5 import storage

    schema = room.once("schema", storage.schema)
    text = _text(value_spoiled(room.once("results", lambda: _instance(schema, schema)), rng))
    content = text.encode("utf-8", "replace")
    (room.folder / "results.json").write_bytes(bytes_spoiled(content, rng) if rng.integers(4) == 0 else content)
    storage.read(room.folder)
    return "done"


def treatment_file(room, rng):
    """A treatment that the doctor wrote, with values exchanged or bytes spoiled, shown by `undertow serve`."""
    from undertow.serving.folder import Folder
    from undertow.serving.treatments import page_of

    schema = room.once("treatment's schema", lambda: json.loads(TREATMENT.read_text("utf-8")))
    folder = room.folder / "treatments"
    folder.mkdir(exist_ok=True)
    content = _text(value_spoiled(room.once("treatment", lambda: _instance(schema, schema)), rng)).encode()
    path = folder / "net.treatment.json"
    path.write_bytes(bytes_spoiled(content, rng) if rng.integers(4) == 0 else content)
    page_of(Folder(folder), path.name)
    return "done"


TREATMENT = Path(__file__).parents[2] / "docs" / "schemas" / "treatment.json"


def _instance(schema, root):
    """Make a small value that a JSON Schema allows."""
    if "$ref" in schema:
        schema = {
            **root["$defs"][schema["$ref"].rpartition("/")[2]],
            **{k: v for k, v in schema.items() if k != "$ref"},
        }
    if not schema.keys() - {"description"}:
        return 0.5
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            return _instance(schema[choice][0], root)
    kinds = schema.get("type", "object")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "object":
        parts = schema.get("properties", {})
        others = {
            name: schema.get("additionalProperties", {}) for name in schema.get("required", ()) if name not in parts
        }
        return {name: _instance(part, root) for name, part in {**parts, **others}.items()}
    if kind == "array":
        return [
            _instance(schema.get("items", {"type": "number"}), root) for _ in range(max(2, schema.get("minItems", 2)))
        ]
    plain = {"string": "a", "integer": 1, "number": 0.5, "boolean": True, "null": None}
    return "0" * 64 if "pattern" in schema else plain[kind]


def request(room, rng):
    """A request to `undertow serve` with an odd path, query or headers; one Run of its folder is damaged."""
    app = room.once("app", lambda: _app(room))
    names = ["mine.undertow", "broken.undertow", "../x.undertow", ".hidden/y.undertow", _odd_text(rng)]
    paths = ["/", "/runs", "/run", "/view", "/step", "/compare", "/nowhere", f"/{_odd_text(rng)}"]
    query = f"name={names[int(rng.integers(5))]}&row={_odd_text(rng) if rng.integers(2) else rng.integers(20)}"
    headers = [(b"host", b"127.0.0.1" if rng.integers(4) else _odd_text(rng).encode("utf-8", "replace"))]
    for name in (b"origin", b"cookie", b"authorization", b"sec-fetch-site", b"accept"):
        if rng.integers(4) == 0:
            headers.append((name, rng.bytes(int(rng.integers(40))) if rng.integers(2) else b"http://["))
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1",
        "method": ("GET", "HEAD", "PUT")[rng.integers(3)], "scheme": "http",
        "path": paths[int(rng.integers(len(paths)))], "raw_path": b"/", "root_path": "",
        "query_string": query.encode("utf-8", "replace"), "headers": headers, "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8642), "state": {},
    }  # fmt: skip
    status = asyncio.run(_answered(app, scope))
    return "traceback" if status >= 500 else "done" if status < 400 else "refused"


def _app(room):
    from undertow.serving.application import Pages
    from undertow.serving.folder import Folder
    from undertow.serving.guard import Guard, own_names

    folder = room.folder / "runs"
    folder.mkdir(exist_ok=True)
    content, _ = room.once("growing", lambda: _growing(room))
    (folder / "mine.undertow").write_bytes(content)
    (folder / "broken.undertow").write_bytes(content[:5000] + bytes(200) + content[5200:])
    return Guard(Pages(Folder(folder)).application(), own_names("127.0.0.1"), "")


async def _answered(app, scope):
    statuses = []

    async def receive():
        return {"type": "http.disconnect"} if statuses else {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        await app(scope, receive, send)
    return statuses[0]


def _odd_text(rng):
    signs = string.printable + "\0\x1b\u202e\ud800é層"
    return "".join(signs[int(i)] for i in rng.integers(len(signs), size=int(rng.integers(1, 30))))


TARGETS = {
    "a Run's file, bits flipped": run_bits,
    "a Run's file, bytes overwritten, cut or put in": run_bytes,
    "a Run's file, forged with right sums": run_forged,
    "a Run's numbers: nan, inf, huge, negative, steps too": run_numbers,
    "report.json": report_json,
    "the store of a sweep": sweep_store,
    "a sweep's specification, values": spec_values,
    "a sweep's specification, text": spec_text,
    "[tool.undertow] of pyproject.toml": project_section,
    "the doctor's store, forged with right sums": trials_store,
    "results.json of a study": study_results,
    "a treatment's file, shown by undertow serve": treatment_file,
    "an IDX file": idx_file,
    "an ensemble's safetensors file": ensemble_file,
    "a request to undertow serve": request,
}
SHARES = dict.fromkeys(TARGETS, 1.0) | {
    "a Run's file, bits flipped": 3.0,
    "a Run's file, forged with right sums": 3.0,
    "a Run's numbers: nan, inf, huge, negative, steps too": 3.0,
    "report.json": 3.0,
    "the store of a sweep": 2.0,
}


class HangError(BaseException):
    """A case took too long; no handler of errors takes it for one of its own."""


def outcome(name, room, seed):
    """Return how a case ends, and what was raised where that is a failure."""

    def late(*_):
        raise HangError

    before = {each: signal.signal(each, late) for each in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(WAITING * SECONDS)
    try:
        return TARGETS[name](room, np.random.default_rng(seed)), None
    except HangError:
        return "hang", None
    except BaseException as error:
        if isinstance(error, AssertionError | MemoryError) or _told(error)[1] == OURS:
            return "traceback", error
        return "refused", None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for each, handler in before.items():
            signal.signal(each, handler)


def counts(cases):
    """Return how many cases each target gets of so many."""
    whole = sum(SHARES.values())
    return {name: max(1, round(cases * share / whole)) for name, share in SHARES.items()}
