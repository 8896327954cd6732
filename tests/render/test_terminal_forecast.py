"""A forecast on a terminal."""

import io

from undertow.render.terminal_forecast import text
from undertow.theory.forecasting import Forecast


def test_the_tables_fit_a_terminal():
    from rich.console import Console

    console = Console(width=80, record=True, file=io.StringIO())
    console.print(text(Forecast.of("tanh", 1.0, 0.05, depth=1000, width=300)))
    lines = console.export_text().splitlines()
    assert sum(line.startswith("ξ") for line in lines) == 3
    assert len(lines) < 28
