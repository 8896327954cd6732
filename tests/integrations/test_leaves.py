"""Every leaf loads alone, and says in one line what to install where its package is missing."""

import subprocess
import sys
import warnings

import pytest

from undertow.extras import DISTRIBUTIONS


def test_the_package_itself_loads_nothing():
    wanted = "{'torch', 'lightning', 'transformers', 'accelerate', 'keras', 'wandb'}"
    code = f"import sys, undertow.integrations; print({wanted} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


PACKAGES = {
    "accelerate": ("accelerate",),
    "fastai": ("fastai",),
    "hf": ("accelerate", "transformers"),
    "ignite": ("ignite",),
    "keras": ("keras",),
    "lightning": ("lightning", "pytorch_lightning"),
    "mlflow": ("mlflow",),
    "skorch": ("skorch",),
    "tensorboard": ("tensorboard",),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
"""By leaf, what it can't do without; any of them may be missing."""


@pytest.mark.parametrize("leaf", PACKAGES)
def test_a_missing_package_is_told_with_what_to_install(leaf):
    blocked = f"import sys; sys.modules.update(dict.fromkeys({PACKAGES[leaf]!r}))"
    code = f"{blocked}; import undertow.integrations.{leaf}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last, name = done.stderr.strip().splitlines()[-1], DISTRIBUTIONS.get(leaf, PACKAGES[leaf][0])
    assert last.startswith(f"ModuleNotFoundError: undertow.integrations.{leaf} needs {name}, which is not")
    assert last.endswith(f'pip install "undertow[{leaf}]"')


def test_our_own_warnings_are_errors_and_other_peoples_are_not():
    warnings.warn("another package's", DeprecationWarning, stacklevel=1)
    with pytest.raises(UserWarning, match="ours"):
        warnings.warn("undertow: ours", stacklevel=1)
