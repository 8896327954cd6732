"""Code is run where it is allowed, in a process that can be ended."""

import pytest

from undertow.agent_tools.code import examined


def test_code_that_fails_or_hangs_is_told_and_ended(folder):
    (folder / "bad.py").write_text(
        "import time\ndef fails():\n    raise KeyError('\x1b[31mred')\ndef hangs():\n    time.sleep(99)\n"
    )
    with pytest.raises(ValueError, match=r"bad.py:fails can't be examined: (.|\n)*KeyError") as failed:
        examined(folder, "bad.py:fails")
    assert "\x1b" not in str(failed.value)
    with pytest.raises(ValueError, match=r"was ended after 0\.1 seconds"):
        examined(folder, "bad.py:hangs", seconds=0.1)
