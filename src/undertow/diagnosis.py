"""The noun in the middle: one recorded step of a Run, its gradient path, gains, theory and findings."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from undertow.analysis.attribution import attribute
from undertow.analysis.gradient_path import GradientPath, find_gradient_path, weight_depth
from undertow.analysis.theory_check import TheoryCheck, check_theory
from undertow.record import BackwardGain, Finding, Role, Run, Site

Result = TypeVar("Result")

FEWEST_STEPS = 8
"""Uses of the same weights that make a recurrence."""


@dataclass(frozen=True)
class LayerSites:
    """All WEIGHT Sites of one module: a layer, however often it is called.

    Attributes:
        module: its path.
        sites: its Sites, the loss's side first.
        depth: weights between it and the loss, itself included; of its call nearest to the loss.
    """

    module: str
    sites: tuple[int, ...]
    depth: int


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """One recorded step of a Run and all that is concluded from it, each worked out once.

    Rules read it and fill ``findings``; renderers read it and nothing else.

    Attributes:
        run: what was measured.
        step: which recorded step; -1 is the last.
        findings: what the rules have to say, the worst first; empty until they were asked.

    Example:
        >>> diagnosis = Diagnosis(Run({}, ()))
        >>> diagnosis.gradient_path, diagnosis.gains, diagnosis.theory.predictions, diagnosis.findings
        (None, (), (), ())
    """

    run: Run
    step: int = -1
    findings: Sequence[Finding] = ()

    @cached_property
    def gradient_path(self) -> GradientPath | None:
        """The path that all gradient to the front takes; None without weights, or where no step was recorded."""
        return None if not len(self.run) else find_gradient_path(self.run, self.step)

    @cached_property
    def gains(self) -> tuple[BackwardGain, ...]:
        """Every block of the gradient path by cause, the loss's side first."""
        return () if self.gradient_path is None else attribute(self.run, self.step, self.gradient_path)

    @cached_property
    def theory(self) -> TheoryCheck:
        """Compare the gradient path with what theory expects."""
        return TheoryCheck() if self.gradient_path is None else check_theory(self.run, self.step, self.gradient_path)

    @cached_property
    def layers(self) -> tuple[LayerSites, ...]:
        """Layers that learn, the loss's side first."""
        return self.run.of_graph(_layers)

    @cached_property
    def depth(self) -> NDArray[np.intp]:
        """For every Site, the WEIGHT Sites on the longest way to it from the loss, itself included."""
        return weight_depth(self.run) if self.gradient_path is None else self.gradient_path.depth

    @cached_property
    def recurrent(self) -> frozenset[int]:
        """WEIGHT Sites whose parameters are used at step after step of a sequence."""
        return self.run.of_graph(_recurrent)

    @cached_property
    def starts_at_zero(self) -> bool:
        """Tell whether a layer on the gradient path has zero weights, as some heads do before their first step."""
        norms = self.column("weight_norm")
        return self.gradient_path is not None and any(norms[site] == 0 for site in self.gradient_path.sites)

    @cached_property
    def finite(self) -> bool:
        """Tell whether every gradient that was measured is finite."""
        counted = self.column("nonfinite")
        loss = self.run.header.get("loss", 0.0)
        return bool(np.isfinite(loss) and np.isfinite(self.column("grad_output")).all() and not np.nansum(counted))

    @cached_property
    def loss_scale(self) -> float:
        """Return the factor of the loss in the backward pass, 1 if unknown. The numbers are free of it."""
        scalars = self.run.scalars
        if not {"scale", "step"} <= scalars.keys() or "step" not in self.run.steps:
            return float(self.run.header.get("scale", 1.0))
        known = scalars["scale"][scalars["step"] <= self.run.steps["step"][self.step]]
        known = known[~np.isnan(known)]
        return float(known[-1]) if len(known) else 1.0

    @cached_property
    def _memo(self) -> dict[Any, Any]:
        """Keep what rules worked out, by the function that did: see `once`."""
        return {}

    def once(self, work_out: "Callable[[Diagnosis], Result]") -> "Result":
        """Return what a function makes of this step, worked out once for all rules that ask.

        Example:
            >>> Diagnosis(Run({}, ())).once(lambda diagnosis: diagnosis.finite)
            True
        """
        if work_out not in self._memo:
            self._memo[work_out] = work_out(self)
        return self._memo[work_out]

    def column(self, name: str) -> NDArray[np.floating]:
        """One quantity at every Site."""
        return self.run.column(name, self.step)

    def name(self, site: int) -> str:
        """Return a Site's name."""
        return self.run.sites[site].name

    def between(self, start: int, end: int) -> str:
        """Return the name of a segment of the gradient path."""
        return f"{self.name(start)} -> {self.name(end)}"


def _layers(run: Run) -> tuple[LayerSites, ...]:
    depth = weight_depth(run)
    by_module: dict[str, list[Site]] = {}
    for site in run.sites:
        if site.role is Role.WEIGHT and site.parameters:
            by_module.setdefault(site.module or ", ".join(site.parameters), []).append(site)
    layers = [
        LayerSites(module, tuple(s.index for s in sites), int(min(depth[s.index] for s in sites)))
        for module, sites in by_module.items()
    ]
    return tuple(sorted(layers, key=lambda layer: layer.depth))


def _recurrent(run: Run) -> frozenset[int]:
    layers = [site for site in run.sites if site.role is Role.WEIGHT and site.parameters]
    uses = Counter(site.parameters for site in layers)
    return frozenset(site.index for site in layers if uses[site.parameters] >= FEWEST_STEPS)
