"""What the chapter study writes, checks and claims."""

import copy
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from reading import until
from undertow.files import write_json
from undertow.studies.chapter5 import check, storage
from undertow.studies.chapter5.claims import CLAIMS
from undertow.studies.chapter5.config import config
from undertow.studies.chapter5.training import CONTROLS
from undertow.studies.statistics import compare
from undertow.studies.study import judged


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, object]:
    return storage.read(folder)


def test_the_results_have_the_promised_shapes(results):
    for h in (1, 2, 3, 4):
        accuracy, speed = results["accuracy"][str(h)], results["training_speed"][str(h)]
        assert np.shape(accuracy["validation"]) == np.shape(accuracy["test"]) == (2, 3)
        assert len(set(accuracy["initial_sha256"])) == len(set(accuracy["final_sha256"])) == 2
        assert accuracy["book"] is None, "the text's figures are for MNIST"
        assert np.shape(results["initial_speed"][str(h)]["speed"]) == (256, h)
        for key in ("speed", "speed_without_decay", "per_example_speed_without_decay"):
            assert np.shape(speed[key]) == (2, 50, h)
        assert np.shape(results["reset"][str(h)]["accuracy_lost"]) == (2, h + 1)
    assert len(results["initial_bars"]["1"]) == len(results["initial_bars"]["2"]) == 6
    assert [claim["id"] for claim in results["claims"]] == list(range(1, 14))
    assert set(results["controls"]) == set(CONTROLS)


def test_before_the_first_step_decay_makes_no_difference(results):
    for h in (1, 2, 3, 4):
        speed = results["training_speed"][str(h)]
        first = [np.array(speed[key])[:, 0] for key in ("speed", "speed_without_decay")]
        np.testing.assert_array_equal(*first)


def test_the_length_of_an_average_is_below_the_average_length(results):
    for h in (1, 2, 3, 4):
        speed = results["training_speed"][str(h)]
        for kind in ("speed", "speed_without_decay"):
            assert (np.array(speed[kind]) <= np.array(speed[f"per_example_{kind}"]) * (1 + 1e-5)).all()


def test_shares_of_progress_sum_to_one(results):
    for found in results["share_of_progress"].values():
        np.testing.assert_allclose(np.sum(found["share"], -1), 1, rtol=1e-5)


class _Outside(HTMLParser):
    """Collects what a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        if tag in ("script", "img", "iframe", "link", "video", "source"):
            address = named.get("src") or named.get("href") or ""
            if address and not address.startswith("data:"):
                self.found.append(address)


def test_the_page_needs_nothing_else(folder):
    outside = _Outside()
    outside.feed((folder / "index.html").read_text("utf-8"))
    assert outside.found == []


def test_every_figure_is_there_as_png_and_svg(folder):
    svg = {p.stem for p in (folder / "figures").glob("*.svg")}
    png = {p.stem for p in (folder / "figures").glob("*.png")}
    assert svg == png
    assert {"accuracies", "bars", "initial-speeds", "descent-speeds", "reset", "causes"} <= svg
    assert all((folder / "figures" / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for name in png)


def test_what_was_written_checks(folder):
    found = check(folder, "digits", Console(quiet=True), processes=0)
    assert not [str(each) for each in found if each.holds is False]
    assert sum(each.detail == "2 of 2 members" for each in found) == 4


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lambda r: r["accuracy"]["2"]["initial_sha256"].__setitem__(1, "0" * 64), "2 hidden layers: initial weights"),
        (lambda r: r["accuracy"]["1"]["validation"][0].__setitem__(-1, 0.2), "1 hidden layer: accuracy of one member"),
    ],
)
def test_what_was_tampered_with_does_not(results, tmp_path, tamper, said):
    changed = copy.deepcopy(results)
    tamper(changed)
    write_json(changed, tmp_path / "results.json")
    [differing] = [each for each in check(tmp_path, "digits", Console(quiet=True), processes=0) if each.holds is False]
    assert str(differing).startswith(f"DIFFERS      {said}")


def test_the_command_exits_with_1_where_something_differs(undertow, results, tmp_path):
    changed = copy.deepcopy(results)
    changed["accuracy"]["3"]["initial_sha256"][0] = "0" * 64
    write_json(changed, tmp_path / "results.json")
    done = undertow("chapter5", "--check", tmp_path, "--data", "digits")
    assert done.returncode == 1
    assert "DIFFERS      3 hidden layers: initial weights (1 of 2 members)" in done.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no results.json in"),
        ("{", "is not JSON"),
        ("{}", "is not a result of `undertow chapter5`"),
        (json.dumps({"schema": 2}), "is not a result of `undertow chapter5`"),
    ],
)
def test_a_folder_without_good_results_is_refused(undertow, tmp_path, content, said):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    done = undertow("chapter5", "--check", tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_other_data_than_recorded_are_refused(undertow, folder):
    done = undertow("chapter5", "--check", folder)  # recorded with digits, checked with MNIST
    assert done.returncode == 2
    assert "say which data with --data" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chapter6"], "No such command"),
        (["chapter5", "--members", "0"], "--members"),
        (["chapter5", "--data", "nowhere-at-all"], "nowhere-at-all"),
        (["chapter5", "--seed", "-1"], "--seed"),
    ],
)
def test_a_wrong_argument_gets_one_clear_error(undertow, arguments, said, tmp_path):
    done = undertow(*arguments, *(["--out", tmp_path / "out"] if arguments[0] == "chapter5" else []))
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unwritable_folder_is_said_before_anything_is_computed(undertow, tmp_path):
    (tmp_path / "out").write_text("a file where the folder should go")
    done = undertow("chapter5", "--quick", "--data", "digits", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "out" in done.stderr
    assert "Traceback" not in done.stderr


class TestClaims:
    """Each claim is decided by the numbers: other numbers, another verdict."""

    def holds(self, results, number):
        return judged(CLAIMS, results)[number - 1]["holds"]

    @pytest.fixture
    def changed(self, results):
        return copy.deepcopy(results)

    def with_accuracy(self, results, per_cent):
        for h, mean in enumerate(per_cent, 1):
            spread = np.array([-0.1, 0.0, 0.1, 0.05])
            results["accuracy"][str(h)]["validation"] = ((mean + spread) / 100)[:, None]
        return results

    def test_depth(self, changed):
        assert self.holds(self.with_accuracy(changed, (96.0, 97.0, 96.5, 96.0)), 1) == "yes"
        assert self.holds(self.with_accuracy(changed, (96.0, 97.0, 97.01, 96.0)), 1) == "partly"
        assert self.holds(self.with_accuracy(changed, (97.0, 96.0, 97.0, 98.0)), 1) == "no"

    def test_frozen_front(self, changed):
        share = np.array(changed["share_of_progress"]["4"]["share"])
        share[:] = [0.001, 0.001, 0.1, 0.3, 0.598]
        changed["share_of_progress"]["4"]["share"] = share
        assert self.holds(changed, 3) == "yes"
        share[:] = 0.2
        assert self.holds(changed, 3) == "no"

    def test_neighbours(self, changed):
        for h in (2, 3, 4):
            speed = np.array(changed["training_speed"][str(h)]["speed"])
            changed["training_speed"][str(h)]["speed"] = np.broadcast_to(7.0 ** np.arange(h), speed.shape)
        assert self.holds(changed, 6) == "yes"

    def test_explosion(self, changed):
        changed["explosion"]["runs"]["ReLU, N(0, 1)"]["divergences"] = []
        assert self.holds(changed, 8) == "no"

    def test_product(self, changed):
        changed["chain"]["shown"][0]["value"] *= 1.001
        assert self.holds(changed, 9) == "no"

    def test_full_networks(self, changed):
        changed["split"]["gain"] = np.ones_like(np.array(changed["split"]["gain"]))
        assert self.holds(changed, 12) == "no"

    def test_there_is_one_for_every_claim_of_the_text(self, results):
        assert len(CLAIMS) == len(judged(CLAIMS, results)) == 13
        assert all(claim["measured"] for claim in judged(CLAIMS, results))


def test_quick_is_less_of_the_same():
    quick, whole = config(quick=True), config(quick=False)
    assert (quick.members, quick.epochs, quick.descent_steps) == (2, 3, 50)
    assert (whole.members, whole.epochs, whole.descent_steps) == (8, 30, 500)
    assert config(quick=True, members=5).members == config(quick=False, members=5).members == 5


def test_one_network_tells_nothing_of_luck():
    step = compare([96.0], [97.0])
    assert not step.significant
    assert step.said == "too few to tell"
    assert not compare([96.0, 96.0], [97.0, 97.0]).significant


@pytest.mark.parametrize(
    "only_of_the_chapter",
    ["the text's network, as recorded", "never quite", "sit on a plateau", "took over most of the work", "on mnist"],
)
def test_the_page_reads_nothing_into_other_data_that_is_not_there(folder, only_of_the_chapter):
    page = (folder / "index.html").read_text("utf-8").lower()
    assert only_of_the_chapter not in page


def test_a_killed_command_leaves_no_process_behind(tmp_path):
    command = [sys.executable, "-m", "undertow", "chapter5", "--data", "digits", "--out", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
        if not children.exists():
            running.kill()
            pytest.skip("this system doesn't tell a process's children")
        until(lambda: len(children.read_text().split()) >= 3)  # two workers and their resource tracker
        left = [Path("/proc", pid) for pid in children.read_text().split()]
        running.kill()
    until(lambda: not any(alive(process) for process in left))


def alive(process: Path) -> bool:
    try:
        return process.joinpath("status").read_text().split("State:")[1].split()[0] != "Z"
    except OSError:
        return False


def test_what_would_have_helped_is_what_the_doctor_recorded(folder):
    from undertow.studies.chapter5 import doctored, helped

    told = helped.treatment()
    assert f"{doctored.__name__.replace('.', '/')}.py:training" in told["command"]
    assert told["steps"] == doctored.UPDATES
    best = told["comparisons"][0]
    assert (told["verdict"], best["verdict"]) == ("repaired", "HELPS")
    assert best["interval"][0] > 0
    page = (folder / "index.html").read_text("utf-8")
    assert "What would have helped" in page
    assert f"{helped.helped_scores()[1]:.0f} %" in page.replace("\xa0", " ")
    sizes = [tuple(layer.weight.shape) for layer in doctored.DeepestNetwork() if hasattr(layer, "weight")]
    assert sizes == [(30, 784), (30, 30), (30, 30), (30, 30), (10, 30)]
