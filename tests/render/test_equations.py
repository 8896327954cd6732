import re

import pytest

from undertow.render.equations import latex_of, set_equation
from undertow.render.markup import phrase

WRITTEN = {
    "Nielsen, eq. 124: delta^l = Sigma'(z^l) (w^{l+1})^T ... grad_a C": ["Nielsen, eq. 124:", "δ", "Σ", "∇", "⋯"],
    "E||delta^l||^2 = chi_1 E||delta^{l+1}||^2, chi_1 = n_in Var W E[phi'^2]": ["‖", "χ", "Var", "ϕ"],
    "dw = -lr m / (sqrt(v) + epsilon)": ["Δ", "η", "msqrt", "ϵ"],
    "|<g, dw>| <= ||g|| ||dw||": ["⟨", "⟩", "≤"],
    "(x - mean x) / sqrt(var x + eps) = 0 for one value": ["mean", "msqrt", "for one value"],
    "softmax(softmax(z)): logits in [0, 1], p <= 1 / (1 + (C - 1)/e)": ["softmax", "logits in", "≤"],
}


@pytest.mark.parametrize("written", WRITTEN)
def test_what_rules_write_in_plain_signs_is_typeset(written):
    html = str(phrase(set_equation(written)))
    said = html.replace("\xa0", " ")
    assert "<math" in html
    assert [sign for sign in WRITTEN[written] if sign not in said] == []
    assert not re.search(r"delta|chi_|\|\||<=|sqrt\(|phi", re.sub(r"<[^>]*>", "", html))


@pytest.mark.parametrize("words", ["Pascanu et al., eq. 5", "", "what *is* <b>it</b>"])
def test_words_stay_words(words):
    html = str(phrase(set_equation(words)))
    assert "<math" not in html
    assert "<b>" not in html


def test_braces_that_do_not_close_stay_as_written():
    assert "<code>a^{l = b</code>" in str(phrase(set_equation("a^{l = b")))


def test_every_equation_of_a_report_is_typeset(vanishing):
    written = {finding.equation for finding in vanishing.findings if "=" in finding.equation}
    assert written
    assert all("<math" in str(phrase(set_equation(each))) for each in written)
    assert all(latex_of(each) for each in written)
