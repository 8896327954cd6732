"""Plugins by entry points: loaded when asked for, a broken one costs itself only."""

import subprocess
import sys
import textwrap
import warnings

import pytest

from undertow import plugins
from undertow.diagnosis import Diagnosis
from undertow.plugins import PluginError, PluginWarning, Registry
from undertow.record import Run
from undertow.report import Report

GOOD = "from plugin_of_a_test import REGISTRY\nREGISTRY['AB101'] = 'good'\n"
BROKEN = (
    "from plugin_of_a_test import REGISTRY\nREGISTRY['CD101'] = 'half'\nraise ImportError('no \\x1b[31msuch thing')\n"
)

TALLY = """
def tally(diagnosis):
    return f"{len(diagnosis.findings)} findings"

def odd(_):
    return 3
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A function that puts a package with entry points where Python finds it; it is forgotten after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)

    def install(name, entries, **modules):
        about = tmp_path / f"{name}-1.2.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (about / "entry_points.txt").write_text(textwrap.dedent(entries))
        for module, text in modules.items():
            (tmp_path / f"{module}.py").write_text(text)
        plugins.installed.cache_clear()

    yield install
    plugins.installed.cache_clear()
    for module in set(sys.modules) - known:
        if getattr(sys.modules[module], "__file__", None) and str(tmp_path) in str(sys.modules[module].__file__):
            del sys.modules[module]


@pytest.fixture
def registry(package):
    """A registry with one plugin that works and one that breaks half-way, and one thing of our own."""
    package(
        "acme",
        """
        [test.things]
        broken = broken_one
        works = good_one
        """,
        plugin_of_a_test="from undertow.plugins import Registry\nREGISTRY = Registry('test.things')\n",
        broken_one=BROKEN,
        good_one=GOOD,
    )
    import plugin_of_a_test

    plugin_of_a_test.REGISTRY["UT101"] = "ours"
    return plugin_of_a_test.REGISTRY


def test_registering_loads_nothing_and_reading_loads_all(registry):
    assert registry.registered == {"UT101": "ours"}
    assert "good_one" not in sys.modules
    with pytest.warns(PluginWarning):
        assert set(registry) == {"UT101", "AB101"}


def test_a_broken_plugin_is_told_once_and_leaves_nothing_behind(registry):
    with pytest.warns(PluginWarning) as told:
        read = [dict(registry) for _ in range(3)]
    assert read == 3 * [{"UT101": "ours", "AB101": "good"}]
    assert len(told) == 1


def test_what_is_said_of_a_broken_plugin_names_it_and_its_error_without_control_signs(registry):
    with pytest.warns(PluginWarning) as told:
        len(registry)
    (warning,) = told
    assert "the plugin broken of acme 1.2 can't be loaded" in str(warning.message)
    assert "ImportError: no \\x1b[31msuch thing" in str(warning.message)


def test_where_warnings_are_errors_it_is_one_once_and_all_others_are_there(registry):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PluginWarning):
            len(registry)
        assert set(registry) == {"UT101", "AB101"}


def test_a_plugin_that_ends_the_program_does_not(package):
    package("rude", "[test.rude]\na = ends_it_all\n", ends_it_all="raise SystemExit(3)\n")
    with pytest.warns(PluginWarning, match="SystemExit: 3"):
        assert len(Registry("test.rude")) == 0
    with pytest.raises(PluginError, match="SystemExit"):
        plugins.named("test.rude", "a")


def test_a_renderer_is_a_suffix_and_loaded_when_it_is_written(package, tmp_path):
    package(
        "acme_renderers",
        """
        [undertow.renderers]
        tally = tally_plugin:tally
        odd = tally_plugin:odd
        gone = no_such_module_at_all:render
        """,
        tally_plugin=TALLY,
    )
    report = Report(Diagnosis(Run({"model": "Net"}, ()), step=0, findings=()))
    with pytest.raises(ValueError, match=r"\.txt, \.gone, \.odd, \.tally"):
        report.save(tmp_path / "report.doc")
    assert "tally_plugin" not in sys.modules
    assert report.save(tmp_path / "report.tally").read_text() == "0 findings"
    with pytest.raises(ValueError, match="returned a int: it must be str or bytes"):
        report.save(tmp_path / "report.odd")
    with pytest.raises(PluginError, match=r"the plugin gone of acme_renderers 1\.2 can't be loaded \(ModuleNotFound"):
        report.save(tmp_path / "report.gone")
    assert not (tmp_path / "report.gone").exists()


def test_a_plugin_sees_the_registry_as_it_is_while_it_loads(package):
    package("selfish", "[test.selfish]\na = reads_too\n", reads_too="import sys\nsys.seen = len(sys.of_a_test)\n")
    sys.of_a_test = Registry("test.selfish")
    try:
        sys.of_a_test["UT1"] = 1
        assert len(sys.of_a_test) == 1
        assert sys.seen == 1
    finally:
        del sys.of_a_test, sys.seen


def test_importing_rules_asks_for_no_plugin():
    code = "import sys, undertow.rules; from undertow import plugins; print(plugins.installed.cache_info().currsize)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
