"""Work in the background."""

from undertow.agent_tools.background import Background


def test_work_in_the_background_goes_on_after_one_that_fails():
    done, background = [], Background()
    for work in (lambda: done.append(1), lambda: 1 / 0, lambda: done.append(2)):
        background.submit(work)
    assert background.wait(30)
    assert done == [1, 2]
