"""Every leaf loads alone, and says in one line what to install where its package is missing."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import undertow.integrations


def test_the_package_itself_loads_nothing():
    code = "import sys, undertow.integrations; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_leaves_are_files_beside_it():
    assert Path(undertow.integrations.__file__).name == "__init__.py"


def test_our_own_warnings_are_errors_and_other_peoples_are_not():
    warnings.warn("another package's", DeprecationWarning, stacklevel=1)
    with pytest.raises(UserWarning, match="ours"):
        warnings.warn("undertow: ours", stacklevel=1)
