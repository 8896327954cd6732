"""Render a forecast for the terminal."""

from rich.console import Group, RenderableType
from rich.table import Table

from undertow.render.forecast import headings, layer_rows, summary, title
from undertow.theory.forecasting import Forecast


def text(forecast: Forecast) -> RenderableType:
    """Return a forecast as two tables for a rich console.

    Example:
        >>> from rich.console import Console
        >>> Console(width=80).print(text(Forecast.of("sigmoid", 1.0, 1.0, depth=3)))  # doctest: +SKIP
    """
    facts = Table.grid(padding=(0, 2))
    for name, value, meaning in summary(forecast):
        facts.add_row(name, f"[bold]{value}[/bold]", f"[dim]{meaning}[/dim]")
    layers = Table(box=None, padding=(0, 2), pad_edge=False, header_style="dim")
    for heading in headings(forecast):
        layers.add_column(heading, justify="right")
    for row in layer_rows(forecast):
        layers.add_row(*row)
    return Group(f"[bold]{title(forecast)}[/bold]", "", facts, "", layers)
