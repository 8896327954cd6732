import time

from undertow.serving.state import state_of


def test_a_run_that_went_on_after_its_end_has_not_ended():
    now = time.time()
    assert state_of(now, {"ended": 5.0}, reached=4.9)["kind"] == "ended"
    assert state_of(now, {"ended": 5.0}, reached=5.1)["kind"] == "growing"
    assert state_of(now, {})["kind"] == "growing"
    assert state_of(now - 7300, {}) == {"kind": "quiet", "message": "last written 2 hours ago"}
    assert state_of(0.0, {})["kind"] == "lost"
