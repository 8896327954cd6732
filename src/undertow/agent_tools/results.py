"""The answers, as typed values. Numbers that aren't finite are None: JSON has no other way to say so."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["A", "B", "C", "D"]
Degree = Literal["note", "warning", "error"]


@dataclass(frozen=True)
class FoundFault:
    """One thing that a rule found.

    Attributes:
        code: of the rule; ``rules(code)`` explains it.
        name: in two or three words.
        severity: error: it can't learn as it stands; warning: mended it learns markedly better; note: no fault.
        where: module paths.
        message: what is so, with the numbers that matter.
        began, ended: steps between which it was so; None where nobody looked through time, or while it lasts.
        evidence: numbers by name.
        threshold: what they are held against.
        confidence: share of the passes or steps in which it was found.
        advice: what to do about it.
        snippet: the same as lines of PyTorch, for ``model`` and ``optimizer``.
        follows_from: code of the finding that explains this one; empty otherwise.
    """

    code: str
    name: str
    severity: Degree
    where: str
    message: str
    began: int | None
    ended: int | None
    evidence: dict[str, float | None]
    threshold: str
    confidence: float | None
    advice: str
    snippet: str
    follows_from: str


@dataclass(frozen=True)
class Gain:
    """Tell what becomes of the gradient's norm between two layers, the loss's side first.

    Attributes:
        start, end: layers; the gradient goes from one to the other.
        gain: norm at the end / norm at the start.
        cause: the factor that makes most of it.
        factors: by cause; they multiply to the gain.
    """

    start: str
    end: str
    gain: float | None
    cause: str
    factors: dict[str, float | None]


@dataclass(frozen=True)
class Examined:
    """Tell what a diagnosis comes to.

    Attributes:
        target: what was asked for.
        model: class of the model.
        headline: the verdict in a line.
        findings: the worst first.
        gains: of the gradient path, the loss's side first.
        left_out: findings and gains that there was no room for.
    """

    target: str
    model: str
    headline: str
    findings: list[FoundFault]
    gains: list[Gain]
    left_out: int


@dataclass(frozen=True)
class Explained:
    """How a run went.

    Attributes:
        run: its name.
        model: class of the model.
        headline: the verdict in a line.
        step: the optimizer's step that gains are of; None if none was measured in full.
        full_steps: steps measured in full.
        loss_first, loss_last: the first and the last loss that were noted.
        not_seen: what of the training could not be seen, and the way to see it.
        findings: of the whole run, the worst first.
        gains: at the step.
        left_out: findings and gains that there was no room for.
    """

    run: str
    model: str
    headline: str
    step: int | None
    full_steps: int
    loss_first: float | None
    loss_last: float | None
    not_seen: list[str]
    findings: list[FoundFault]
    gains: list[Gain]
    left_out: int


@dataclass(frozen=True)
class RunSummary:
    """A run in a few words.

    Attributes:
        name: its path in the folder; what ``explain`` takes.
        state: growing, quiet, ended or lost.
        message: the state in words, or why it can't be read.
        model: class of the model.
        step, loss: the last ones, as text; None if there are none.
        summary: what matters most, in a line.
        findings: how many there are of each severity.
    """

    name: str
    state: str
    message: str
    model: str
    step: str | None
    loss: str | None
    summary: str
    findings: dict[str, int]


@dataclass(frozen=True)
class Runs:
    """The runs of the folder, those written last first.

    Attributes:
        runs: each in a few words.
        reports: saved reports (``report.json``), which ``examine`` and ``plan`` take.
        left_out: runs and reports that there was no room for.
    """

    runs: list[RunSummary]
    reports: list[str]
    left_out: int


@dataclass(frozen=True)
class Prescribed:
    """A remedy for the case at hand; nothing was tried.

    Attributes:
        code: of the remedy; ``remedies(code)`` explains it.
        name: in a few words, with its numbers.
        level: A keeps the function that the model computes; B draws weights anew; C changes the architecture;
            D changes what is learned.
        reason: why it is prescribed.
        answers: codes of the findings that it is a remedy for.
        urgency: how much speaks for it, 0 to 1.
        predicted_decades: by which it should change the gradient from the loss to the front; None if nobody can tell.
        snippet: the same as lines of PyTorch.
        by_hand: whether only a person can apply it, as it changes the loop.
    """

    code: str
    name: str
    level: Level
    reason: str
    answers: list[str]
    urgency: float | None
    predicted_decades: float | None
    snippet: str
    by_hand: bool


@dataclass(frozen=True)
class TreatmentPlan:
    """Tell what the doctor would try, the most urgent first. Trying it takes ``undertow doctor``, elsewhere.

    Attributes:
        target: what was asked for.
        headline: the verdict in a line.
        findings: codes of what is wrong, notes left out.
        remedies: the most urgent first.
        left_out: remedies that there was no room for.
        next: the command that tries them.
    """

    target: str
    headline: str
    findings: list[str]
    remedies: list[Prescribed]
    left_out: int
    next: str


@dataclass(frozen=True)
class CodeExplained:
    """A rule or a remedy.

    Attributes:
        code: stable.
        name: in a few words.
        summary: in a sentence.
        sections: its docstring by section, as Markdown; empty where all are listed.
    """

    code: str
    name: str
    summary: str
    sections: dict[str, str]


@dataclass(frozen=True)
class Explanations:
    """Rules or remedies, by their codes.

    Attributes:
        listed: all of them in a line each, or the one that was asked for in full.
    """

    listed: list[CodeExplained]
