"""What an examination found."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undertow.record import BackwardGain, Finding, Run
from undertow.show import text


@dataclass(frozen=True)
class Report:
    """What an examination found; ``print`` it.

    Attributes:
        run: what was measured, one step for every repeat.
        gains: every block of the backbone at the first repeat, by cause.
        findings: what the rules have to say, the worst first.
    """

    run: Run
    gains: Sequence[BackwardGain]
    findings: Sequence[Finding]

    def __str__(self) -> str:
        return text.report(self.run, self.gains, self.findings)

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "run": self.run.to_dict(),
            "gains": [{"start": g.start, "end": g.end, "gain": g.gain, "factors": dict(g.factors)} for g in self.gains],
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def save(self, path: str | Path) -> Path:
        """Write the report as ``.json`` or ``.txt``.

        Raises:
            ValueError: another suffix.
        """
        path = Path(path)
        writers = {".json": lambda: json.dumps(self.to_dict()), ".txt": lambda: str(self)}
        if path.suffix not in writers:
            raise ValueError(f"can't write a report as {path.suffix or path.name!r}; there are: {', '.join(writers)}")
        path.write_text(writers[path.suffix](), encoding="utf-8")
        return path
