"""The questions: examine, explain, plan, runs, rules, remedies."""

import re
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from undertow.agent_tools import results
from undertow.agent_tools.background import Background
from undertow.agent_tools.code import examined
from undertow.agent_tools.confined import Confined, clean
from undertow.diagnosis import Diagnosis
from undertow.record import Finding
from undertow.render.run_summary import unseen
from undertow.render.verdict import headline, is_fault, model_name
from undertow.report import Report, explain
from undertow.rules import RULES
from undertow.rules.explained import sections
from undertow.serving.folder import Folder
from undertow.serving.listing import Listing
from undertow.store import open_run
from undertow.user_function import split

MOST_FINDINGS, MOST_GAINS, MOST_REMEDIES, MOST_RUNS = 40, 60, 30, 100
"""What an answer has room for; the worst, the latest and the most urgent come first."""

PATIENCE = 20.0
"""Seconds for which a listing waits until runs are judged."""

_BEGINNING = re.compile(rb'\s*\{\s*"format":\s*"undertow report ')


class Tools:
    """Answer questions about the runs, reports and models of one folder; nothing in it is ever changed.

    Args:
        folder: out of which nothing is read.
        allow_code: whether ``FILE.py:FUNCTION`` may be run, as ``undertow examine`` does.

    Every method raises ValueError, LookupError or OSError with a sentence that says what to ask instead.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Tools(folder).runs()
        Runs(runs=[], reports=[], left_out=0)
        >>> Tools(".").rules("UT101").listed[0].name
        'vanishing gradient'
    """

    def __init__(self, folder: str | Path, allow_code: bool = False) -> None:
        self._inside, self._allow_code = Confined(folder), allow_code
        self._folder = Folder(self._inside.root)
        self._background = Background()
        self._listing = Listing(self._folder, self._background.submit)
        self._looking, self._running = threading.Lock(), threading.Lock()

    def examine(self, target: str) -> results.Examined:
        """Say how the gradient gets from the loss to the first layer, what becomes of it and why, and what is wrong.

        Args:
            target: a saved report in the folder (``report.json``); or, where the server was started with --allow-code,
                FILE.py:FUNCTION, whose FUNCTION() returns (model, compute_loss) and is run.
        """
        diagnosis = self._report(target).diagnosis
        found, gains = _findings(diagnosis.findings), _gains(diagnosis)
        left_out = len(diagnosis.findings) - len(found) + len(diagnosis.gains) - len(gains)
        return results.Examined(
            clean(target), clean(model_name(diagnosis)), clean(headline(diagnosis)), found, gains, left_out
        )

    def explain(self, run: str, step: int | None = None) -> results.Explained:
        """Explain a run that undertow.watch recorded: what is wrong with it since when, and what to do.

        Args:
            run: its name, as ``runs`` lists it; it may still grow.
            step: the optimizer's step to tell gains of; the last finite one that was measured in full unless given.
        """
        told = explain(open_run(self._run(run)), step)
        found, gains = _findings(told.findings), _gains(told.diagnosis)
        losses = [float(each) for each in told.run.scalars.get("loss", ()) if each == each]
        return results.Explained(
            run=clean(run),
            model=clean(model_name(told.diagnosis)),
            headline=clean(headline(told.diagnosis)),
            step=told.step,
            full_steps=len(told.run),
            loss_first=clean(losses[0]) if losses else None,
            loss_last=clean(losses[-1]) if losses else None,
            not_seen=clean(unseen(told.run.header)),
            findings=found,
            gains=gains,
            left_out=len(told.findings) - len(found) + len(told.gains) - len(gains),
        )

    def plan(self, target: str) -> results.TreatmentPlan:
        """Say what the doctor would try against what is wrong, the most urgent first, as lines of PyTorch.

        Nothing is trained, and nothing is known to help before it was tried: ``undertow doctor`` does that.

        Args:
            target: a run or a saved report in the folder, or FILE.py:FUNCTION, as ``examine`` and ``explain`` take it.
        """
        from undertow.remedies import prescribe  # loads torch

        if target.endswith(".undertow"):
            diagnosis = explain(open_run(self._run(target))).diagnosis
        else:
            diagnosis = self._report(target).diagnosis
        prescribed = prescribe(diagnosis)
        shown = [_prescribed(each) for each in prescribed[:MOST_REMEDIES]]
        wrong = list(dict.fromkeys(each.code for each in diagnosis.findings if is_fault(each)))
        what = target if _is_code(target) else "FILE.py:FUNCTION"
        return results.TreatmentPlan(
            clean(target), clean(headline(diagnosis)), wrong, shown, len(prescribed) - len(shown),
            clean(f"undertow doctor {what} --budget 5m, where FUNCTION() returns an undertow.Training"),
        )  # fmt: skip

    def runs(self) -> results.Runs:
        """List the runs of the folder, those written last first, each with its state and the worst that was found.

        Runs that could not be judged in a few seconds have no findings yet: ask again.
        """
        with self._looking:
            self._listing.to_list()
            self._background.wait(PATIENCE)
            listed = self._listing.to_list()
        reports = [each for each in self._inside.names(".json") if _is_report(self._inside.root / each)]
        left_out = max(0, len(listed) - MOST_RUNS) + max(0, len(reports) - MOST_RUNS)
        return results.Runs([_summary(each) for each in listed[:MOST_RUNS]], clean(reports[:MOST_RUNS]), left_out)

    def rules(self, code: str | None = None) -> results.Explanations:
        """Explain a rule by its code (UT101), what it means, why it is bad and what to do; or list all of them."""
        if code is None:
            return results.Explanations(
                [_explained(each, RULES[each], sections(RULES[each]), False) for each in sorted(RULES)]
            )
        known = _known(code, RULES, "rule", "rules")
        return results.Explanations([_explained(known, RULES[known], sections(RULES[known]), True)])

    def remedies(self, code: str | None = None) -> results.Explanations:
        """Explain a remedy by its code (UR101), what it changes and when it is prescribed; or list all of them."""
        from undertow.remedies import (
            KINDS,  # loads torch
            explained,
        )

        if code is None:
            listed = [_explained(each, KINDS[each], explained.sections(KINDS[each]), False) for each in sorted(KINDS)]
            return results.Explanations(listed)
        known = _known(code, KINDS, "remedy", "remedies")
        return results.Explanations([_explained(known, KINDS[known], explained.sections(KINDS[known]), True)])

    def hidden(self, text: str) -> str:
        """Return a sentence as it may be told: without the way to the folder, and without signs that act."""
        return str(clean(self._inside.hidden(text)))

    def _run(self, name: str) -> Path:
        inside = self._inside.file(name, ".undertow")
        path = self._folder.find(inside.relative_to(self._inside.root).as_posix())
        if path is None:
            raise FileNotFoundError(f"there is no run {name!r} in the folder; `runs` lists them")
        return path

    def _report(self, target: str) -> Report:
        if not _is_code(target):
            return Report.read(self._inside.file(target, ".json"))
        file, function = split(target)
        self._inside.file(file.as_posix(), ".py")
        if not self._allow_code:
            raise PermissionError(
                f"{target} would run code, which this server was not allowed to: start it with --allow-code, or save a "
                f"report by `undertow examine {target} --out report.json` and ask for that"
            )
        with self._running:
            return examined(self._inside.root, f"{file.as_posix()}:{function}")


def _is_report(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _BEGINNING.match(file.read(64)) is not None
    except OSError:
        return False


def _is_code(target: str) -> bool:
    return ":" in target or target.endswith(".py")


def _findings(findings: Sequence[Finding]) -> list[results.FoundFault]:
    return [_fault(each) for each in findings[:MOST_FINDINGS]]


def _fault(finding: Finding) -> results.FoundFault:
    told = {name: getattr(finding, name) for name in results.FoundFault.__dataclass_fields__}
    told["severity"] = str(finding.severity)
    return results.FoundFault(**clean(told))


def _gains(diagnosis: Diagnosis) -> list[results.Gain]:
    shown = diagnosis.gains[:MOST_GAINS]
    return [
        results.Gain(
            clean(diagnosis.name(each.start)), clean(diagnosis.name(each.end)), clean(float(each.gain)),
            clean(each.cause), clean({name: float(factor) for name, factor in each.factors.items()}),
        )
        for each in shown
    ]  # fmt: skip


def _summary(listed: dict[str, Any]) -> results.RunSummary:
    told = {name: listed.get(name) for name in ("name", "model", "step", "loss", "summary")}
    texts = {name: "" if told[name] is None else told[name] for name in ("name", "model", "summary")}
    message = listed.get("trouble") or listed.get("message", "")
    counts = {name: int(count) for name, count in listed.get("severities", {}).items()}
    return results.RunSummary(
        **clean({**told, **texts, "state": listed.get("kind", "lost"), "message": message, "findings": counts})
    )


def _prescribed(remedy: Any) -> results.Prescribed:
    told = {name: getattr(remedy, name) for name in ("code", "name", "reason", "answers", "urgency", "snippet")}
    more = {"level": str(remedy.level), "predicted_decades": remedy.predicted, "by_hand": remedy.kind.by_hand}
    return results.Prescribed(**clean({**told, **more}))


def _explained(code: str, what: Any, parts: dict[str, str], whole: bool) -> results.CodeExplained:
    summary = parts.pop("")
    return results.CodeExplained(code, clean(what.name), clean(summary), clean(parts) if whole else {})


def _known(code: str, of: Iterable[str], what: str, listing: str) -> str:
    if code.upper() not in of:
        raise LookupError(f"there is no {what} {code[:20]!r}; `{listing}` without a code lists them")
    return code.upper()
