"""What a study writes where a package is missing."""

from undertow.studies import io


def test_without_pyarrow_the_json_is_still_there(monkeypatch, tmp_path):
    monkeypatch.setattr(io, "find_spec", lambda _name: None)
    assert io.save({"a": 1}, [{"a": 1}], tmp_path) is False
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
