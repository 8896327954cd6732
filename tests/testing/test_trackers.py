"""What keeps a tracker's contract passes, and every way of breaking it is named."""

import pytest

from undertow.testing import check_tracker


class Kept:
    """A tracker in memory, which may do something wrong."""

    def __init__(self, wrong=None):
        self.wrong, self.logged, self.rest = wrong, {}, []

    def scalars(self, step, values):
        for name, value in values.items():
            if self.wrong != "forgets" or step:
                self.logged.setdefault(name, []).append((step + (self.wrong == "shifts"), value))

    def finding(self, step, finding):
        if self.wrong == "fails":
            finding.message.encode("ascii")
        self.rest.append((step, finding.code))

    def page(self, path):
        self.rest.append(path.read_text())
        if self.wrong == "moves":
            path.unlink()

    def table(self, name, columns, rows):
        self.rest.append((name, len(columns), len(rows)))


def test_a_tracker_keeps_its_contract():
    kept = Kept()
    check_tracker(lambda: kept, lambda: kept.logged)
    assert len(kept.logged) == 12
    assert kept.rest[0] == (3, "UT101")
    assert kept.rest[-1] == ("doctor", 2, 2)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("forgets", r"undertow/loss is not there at step 0; there are steps \[3, 10\]"),
        ("shifts", "undertow/loss is not there at step 0"),
        ("fails", "Kept raises on another thread: UnicodeEncodeError"),
        ("moves", "it takes the page away"),
    ],
)
def test_what_a_tracker_does_wrong_is_named(wrong, said):
    kept = Kept(wrong)
    with pytest.raises(AssertionError, match=said):
        check_tracker(lambda: kept, lambda: kept.logged)


def test_a_tracker_without_a_method_is_named():
    with pytest.raises(AssertionError, match="a tracker has a method scalars, and object has none"):
        check_tracker(object)
