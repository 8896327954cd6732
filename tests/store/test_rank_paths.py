"""Paths of the files of a Run that several processes write."""

import pytest

from store.test_rank_merge import ones, write
from undertow.store import open_run


@pytest.mark.filterwarnings("ignore:undertow:RuntimeWarning")
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_ranks_agree_on_a_new_name_without_talking(tmp_path, order):
    path = tmp_path / "run.undertow"
    write(path, 0, 1, [0], ones, {"run": "a"})
    names = {rank: write(path, rank, 2, [0], ones, {"run": "b"}) for rank in order}
    assert names == {0: str(tmp_path / "run-2.undertow"), 1: str(tmp_path / "run-2.rank1.undertow")}
    assert open_run(names[0]).header["ranks"] == {"world": 2, "read": 2}
