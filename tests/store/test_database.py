"""Where a file lies, which decides how it is written."""

import pytest

from undertow.store.database import far


@pytest.mark.parametrize(("kind", "is_far"), [("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("ext4", False)])
@pytest.mark.parametrize("depth", [0, 1])
def test_network_file_systems_are_known_by_their_mounts(tmp_path, kind, is_far, depth):
    mounts, at = tmp_path / "mounts", "/" if depth == 0 else str(tmp_path)
    mounts.write_text(f"/dev/a / xfs rw 0 0\nb:/c {at} {kind} rw 0 0\nd:/e /no/such/place nfs rw 0 0\n")
    assert far(tmp_path / "run.undertow", mounts) == is_far
    assert not far(tmp_path / "run.undertow", tmp_path / "nowhere")
