"""What README promises on its first screen: its first example is run, and prints what stands beneath it."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_first_example_prints_what_stands_beneath_it(capsys):
    text = README.read_text(encoding="utf-8")
    code, printed = re.search(r"```python\n(.*?)```\s+```\n(.*?)```", text, re.DOTALL).groups()
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102  # it is what README tells to run
    # The numbers are one machine's: another's may round them otherwise.
    assert _words(printed) in _words(capsys.readouterr().out)


def _words(text):
    return " ".join(re.sub(r"[\d.,]+", "N", text).split())
