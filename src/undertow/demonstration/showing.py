"""Examine, treat, mend and compare a network that doesn't learn, and leave a page of each step."""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from undertow.diagnosis import Diagnosis
from undertow.doctoring import Treatment, doctor
from undertow.doctoring.budget import TooLittleTimeError, seconds_of
from undertow.examination import examine
from undertow.files import write_whole
from undertow.render import terminal_difference
from undertow.render.verdict import verdict
from undertow.report import Report, explain
from undertow.store import open_run
from undertow.training import Training, Trial
from undertow.watching import watch

SEED = 0
SEEDS = 3
TRY_INSTEAD = "3m"
WATCHED = 10
"""Every which step of the trainings is measured in full: they are short, and a page with few steps shows little."""

WIDTH = 96
BROKEN, DOCTOR, MENDED = "1-broken", "2-doctor", "3-mended"
RUNS = ("4-training-broken", "5-training-mended")


def more_than(budget: str) -> str:
    """Return the budget to try where this one was too little: twice as much, and never less than `TRY_INSTEAD`.

    Example:
        >>> more_than("30s"), more_than("3m"), more_than("5m")
        ('3m', '6m', '10m')
    """
    return f"{max(seconds_of(TRY_INSTEAD), 2 * seconds_of(budget)) / 60:.0f}m"


@dataclass(frozen=True)
class Page:
    """A page that the demonstration left, and what it shows."""

    path: Path
    shows: str


@dataclass(frozen=True)
class Demonstration:
    """A demonstration and where it takes place.

    Attributes:
        training: the one that doesn't learn.
        folder: of everything that is written; files of the same names are replaced.
        say: called with every text that the user reads.
        levels: of remedies that the doctor may try.
    """

    training: Training
    folder: Path
    say: Callable[[str], object]
    levels: str = "ABCD"

    def run(self, budget: str, source: Path, longer: str = "") -> list[Page]:
        """Carry it out and return the pages, in the order to read them.

        Args:
            budget: of the doctor, as "20s".
            source: the file that the training is written in; a copy goes into the folder.
            longer: the budget of a second try, where the first was too little on a slow machine; none by default.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / source.name, source.read_bytes())
        self.say("1. A network that doesn't learn is examined: one forward and one backward pass")
        before = self.examined(BROKEN, self.training)
        treatment = self.treated(budget)
        if longer and not (treatment and treatment.remedies):
            self.say("   That is too little time on this machine; once more, with more of it.")
            treatment = self.treated(longer)
        if not (treatment and treatment.remedies):
            self.say(
                f"   That is too little time on this machine: undertow demo --budget {more_than(longer or budget)}"
            )
            return self.pages(BROKEN, *([DOCTOR] if treatment else []))
        self.say("3. The network with what helped is examined")
        after = self.examined(MENDED, treatment.training)
        self.say("4. Both are trained and watched, and compared")
        for name, training in zip(RUNS, (self.training, treatment.training), strict=True):
            self.watched(name, training)
        self.say(terminal_difference.text(("before", before.diagnosis), ("after", after.diagnosis)).rstrip())
        return self.pages(*SHOWN)

    def pages(self, *names: str) -> list[Page]:
        """Return what was written."""
        return [Page(self.folder / f"{name}.html", SHOWN[name]) for name in names]

    def examined(self, name: str, training: Training) -> Report:
        """Examine a fresh model of a training under its first batch."""
        torch.manual_seed(SEED)
        model, batch = training.model(), training.sample(1)[0]
        report = examine(model, lambda: training.loss(model, batch), training.optimizer(model))
        self.say(_indented(_verdict(report.diagnosis)))
        report.save(self.folder / f"{name}.html")
        report.save(self.folder / f"{name}.json")
        return report

    def treated(self, budget: str) -> Treatment | None:
        """Ask the doctor; return None where there was too little time to compare anything."""
        self.say(f"2. The doctor tries what might help ({budget} at most)")
        try:
            treatment = doctor(self.training, budget, seeds=SEEDS, levels=self.levels, processes=0)
        except TooLittleTimeError:
            return None
        treatment.save(self.folder / f"{DOCTOR}.html")
        self.say(_indented(f"{treatment.headline} {treatment.summary}"))
        if treatment.snippet:
            self.say(f"   What to paste:\n\n{textwrap.indent(treatment.snippet, '      ')}")
        return treatment

    def watched(self, name: str, training: Training) -> Trial:
        """Train under the eyes of `undertow.watch`, and leave the run and its page."""
        path = self.folder / f"{name}.undertow"
        for old in self.folder.glob(f"{path.name}*"):
            old.unlink()
        trial = training.run(SEED, watcher=lambda model, optimizer: watch(model, optimizer, path, every=WATCHED))
        self.say(
            f"   {name[2:]}: accuracy {trial.start:.0%} at the start, {trial.score:.0%} after {len(trial.losses)} steps"
        )
        explain(open_run(path)).save(self.folder / f"{name}.html", name[2:])
        return trial


SHOWN = {
    BROKEN: "what is wrong with the network, and why",
    DOCTOR: "what was tried against it, and what helped",
    MENDED: "the mended network",
    RUNS[0]: "how the broken network trains, step by step",
    RUNS[1]: "how the mended network trains, step by step",
}


def _verdict(diagnosis: Diagnosis) -> str:
    name, sentence = verdict(diagnosis)
    return f"{name[:1].upper()}{name[1:]}: {sentence[:1].lower()}{sentence[1:]}"


def _indented(text: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent="   ", subsequent_indent="   ")
