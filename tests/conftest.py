import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import torch

from reading import chromium

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


torch.set_num_threads(1)  # as the studies run; the tests themselves run side by side


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chrome"]:
    """A real headless Chromium; without one the test is skipped, or fails where everything must be tested."""
    try:
        with chromium(tmp_path_factory.mktemp("profile")) as started:
            yield started
    except LookupError as error:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing(str(error))
