"""Print what a rule or a remedy is, section by section."""

from collections.abc import Mapping

from rich.console import Console
from rich.markdown import Markdown
from rich.padding import Padding

WIDTH = 96


def print_sections(head: str, sections: Mapping[str, str]) -> None:
    """Print a head, what stands before the first section, and each section under its name."""
    console = Console(highlight=False)
    console.print(f"\n{head}")
    width = min(console.width, WIDTH)
    for name, words in sections.items():
        if name:
            console.print(f"\n[bold]{name}[/bold]")
        console.print(Padding(Markdown(words.replace("``", "`")), (0, 0, 0, 2 if name else 0)), width=width)
    console.print()
