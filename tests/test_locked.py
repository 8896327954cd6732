"""constraints-hashed.txt: all that undertow[all] needs, each pinned with hashes, and nothing of where it was found."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "constraints-hashed.txt").read_text("utf-8")
PINNED = dict(re.findall(r"^([a-z0-9-]+)(?:\[[^]]*\])?==(\S+)", TEXT, re.MULTILINE))


def wanted():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras, names, waiting = project["optional-dependencies"], set(), [*project["dependencies"], "undertow[all]"]
    while waiting:
        name, more = re.match(r"([A-Za-z0-9-]+)(?:\[(.*)\])?", waiting.pop()).groups()
        if name == "undertow":
            waiting += [each for extra in more.split(",") for each in extras[extra]]
        else:
            names.add(name.lower())
    return names


def test_everything_that_is_needed_is_pinned():
    assert wanted() - PINNED.keys() == set()


def test_every_pin_has_hashes():
    entries = re.split(r"\n(?=[a-z])", TEXT.partition("make lock\n")[2])
    assert len(entries) >= len(PINNED)
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_pins_agree_with_what_make_installs():
    ours = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE))
    assert {name: PINNED[name] for name in ours if name in PINNED} == {n: ours[n] for n in ours if n in PINNED}
    assert "torch" in ours
    assert "://" not in TEXT
