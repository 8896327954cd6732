"""Results that are none are refused."""

import json

import pytest


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
