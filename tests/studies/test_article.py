"""A page's text becomes blocks, its numbers filled in; what it asks for and isn't there is an error."""

import sys
import types

import pytest
from jinja2 import UndefinedError

from undertow.formatting import percent
from undertow.render.page import Callout, ClaimVerdict, Equation, Prose, Section, Table
from undertow.studies.article import TextBlocks, _sections, filled

RESULTS = {
    "quick": False,
    "data": {"name": "mnist"},
    "amount": {"width": 1200},
    "claims": [{"id": 1, "text": "About 6 ξ_c.", "measured": "so", "holds": "yes"}],
}
TEXT = """
## First {#first}

Some *text* with $x_{max}$, {{ r.amount.width|fmt(",") }} wide.

::: callout Words used here
A word.
:::

### Inner {#inner}

::: equation 121 | a equals b
a =
b
:::

## Second {#second}

::: table sizes stacked
How large,
layer by layer
:::

::: claims the paper says
:::
"""


def half(results):
    """A number of the results."""
    return results["amount"]["width"] / 2


@pytest.fixture
def figures():
    module = types.ModuleType("figures_of_a_test")
    module.sizes = lambda results: Table(["layer"], [[results["amount"]["width"]]])
    return module


def test_headings_and_fences_become_blocks_in_their_order(figures):
    first, second = _sections(filled(TEXT, RESULTS), "##", TextBlocks(RESULTS, [figures]))
    prose, callout, inner = first.blocks
    assert (first.id, first.title) == ("first", "First")
    assert prose == Prose("Some *text* with $x_{max}$, 1,200 wide.")
    assert callout == Callout("Words used here", "A word.")
    assert inner == Section("inner", "Inner", [Equation("a = b", "121", "a equals b")])
    sizes, claims = second.blocks
    assert sizes == Table(["layer"], [[1200]], "How large, layer by layer", id="sizes", stacked=True)
    assert claims.rows == [["1", "About 6 $\\xi_c$.", "so.", ClaimVerdict("yes")]]


def test_functions_of_a_study_s_modules_are_given_the_results():
    text = "{{ half() }} {{ percent(0.5) }} {{ claims_that_hold('yes') }} {{ in_full_on_mnist() }}{{ quick_notice() }}"
    assert filled(text, RESULTS, sys.modules[__name__]) == f"600.0 {percent(0.5)} 1 True"


@pytest.mark.parametrize("text", ["{{ nothing_of_that_name() }}", "{{ r.amount.hight }}"])
def test_what_isn_t_there_is_an_error_and_not_an_empty_place(text):
    with pytest.raises(UndefinedError, match=r"is undefined|has no attribute"):
        filled(text, RESULTS)
