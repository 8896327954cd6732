"""No name leads out of the folder, and nothing of another kind is read."""

import os

import pytest

from undertow.agent_tools import confined
from undertow.store import StoreError

OUTSIDE = [
    "../secret{}",
    "deep/../../secret{}",
    "/etc/passwd{}",
    "{root}/../secret{}",
    "..\\secret{}",
    "a\0{}",
    "./x{}",
    "",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_name_leads_out_of_the_folder(tools, folder, name):
    for ask, suffix in ((tools.explain, ".undertow"), (tools.examine, ".json"), (tools.plan, ".json")):
        with pytest.raises(ValueError, match="leads out of the folder"):
            ask(name.replace("{}", suffix).replace("{root}", str(folder)))


def test_no_link_is_followed(tools, folder):
    os.symlink(folder.parent / "secret.json", folder / "link.json")
    os.symlink(folder.parent / "secret.undertow", folder / "link.undertow")
    os.symlink(folder.parent, folder / "out")
    os.symlink(folder / "report.json", folder / "within.json")
    for name in ("link.json", "out/secret.json", "within.json"):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            tools.examine(name)
    for name in ("link.undertow", "out/secret.undertow"):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            tools.explain(name)
    listed = tools.runs()
    assert listed.reports == ["report.json"]
    assert not {"link.undertow", "out/secret.undertow"} & {each.name for each in listed.runs}


def test_what_is_hidden_too_large_or_of_another_kind_is_refused(tools, folder, monkeypatch):
    (folder / ".hidden.json").write_text("{}")
    with pytest.raises(ValueError, match="is hidden"):
        tools.examine(".hidden.json")
    with pytest.raises(ValueError, match=r"is no \.json file"):
        tools.examine("notes.txt")
    with pytest.raises(ValueError, match=r"is no \.undertow file"):
        tools.explain("report.json")
    with pytest.raises(StoreError):
        tools.explain("broken.undertow")
    monkeypatch.setitem(confined.MOST_BYTES, ".json", 10)
    with pytest.raises(ValueError, match="of such a file 0 are read at most"):
        tools.examine("report.json")
