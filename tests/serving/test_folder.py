import os

from undertow.serving.folder import Folder


def test_a_folder_names_each_run_once_whatever_is_beside_it(tmp_path):
    for file in (
        "a.undertow",
        "a.undertow-wal",
        "a.rank1.undertow",
        "a[1].undertow",
        "b.rank2.undertow",
        ".c.undertow",
    ):
        (tmp_path / file).touch()
    os.utime(tmp_path / "a.undertow", (0, 1))
    os.utime(tmp_path / "a.undertow-wal", (0, 3))
    os.utime(tmp_path / "a.rank1.undertow", (0, 2))
    (tmp_path / "d.undertow").mkdir()
    folder = Folder(tmp_path)
    assert folder.written()["a.undertow"] == 3
    assert folder.names() == ["a.undertow", "a[1].undertow"]
    assert all(folder.find(name) for name in folder.names())
    assert not any(folder.find(name) for name in ("b.rank2.undertow", ".c.undertow", "d.undertow", "a.undertow-wal"))
