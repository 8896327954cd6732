"""Set the equations that rules write in plain signs, ``delta^l = (w^{l+1})^T delta^{l+1}``, as a page sets maths.

What isn't mathematics ("Nielsen, eq. 124:", "or") stays text; what can't be set stays as it was written.
"""

import re

from undertow.render.markup import code, escaped, mathml

GREEK = ["alpha", "beta", "gamma", "delta", "epsilon", "eta", "lambda", "phi", "sigma", "chi", "Sigma"]
FUNCTIONS = ["softmax", "min", "max", "mean", "var", "Var", "clip", "e"]
NAMES = {
    **{name: rf"\{name}" for name in GREEK},
    **{name: rf"\text{{{name}}}\," for name in FUNCTIONS if len(name) > 1},
    "eps": r"\epsilon", "sqrt": r"\sqrt", "lr": r"\eta", "dw": r"\Delta w", "dC": r"\partial C", "dW": r"\partial W",
}  # fmt: skip
SIGNS = {
    "||": r"\|", "<=": r"\le ", ">=": r"\ge ", "*": r"\odot ", "...": r"\cdots ", "<": "<", ">": ">", "|": "|",
}  # fmt: skip
TOKEN = re.compile(
    r"(?P<grad>grad_(?P<by>\w))|(?P<name>[A-Za-z]+\d*)(?:_(?P<index>[A-Za-z0-9]+))?|\^T\b|\|\||<=|>=|\.\.\.|\s+|."
)
INNER = re.compile(r"<(\w+), (\w+)>")
ROOT = re.compile(r"sqrt\(([^()]*)\)")
NEIGHBOURS = re.compile(r" \} \\text\{ ")
"""Between two words, each of which would stand with space around it."""

WORDS_BELOW = ("in", "out")
PLAIN = re.compile(r"^([A-Z][^:=]*?(?:et al\.)?[^:=]*): (?=\S)")


def set_equation(written: str) -> str:
    """Return Markdown that sets an equation; one of words alone, or that can't be set, as it was written.

    Example:
        >>> set_equation("Nielsen, BP2: delta^l = (w^{l+1})^T delta^{l+1}")
        'Nielsen\\\\, BP2\\\\: $\\\\delta^l = (w^{l+1})^T \\\\delta^{l+1}$'
        >>> set_equation("Pascanu et al., eq. 5")
        'Pascanu et al\\\\.\\\\, eq\\\\. 5'
    """
    source = PLAIN.match(written)
    words, body = (source[0], written[source.end() :]) if source else ("", written)
    if not re.search(r"[=^]|\|\|", body):
        return escaped(written)
    latex = latex_of(body)
    try:
        mathml(latex)
    except ValueError:
        return code(written)
    return f"{escaped(words)} ${latex}$".strip()


def latex_of(written: str) -> str:
    """Translate an equation of plain signs into LaTeX.

    Example:
        >>> latex_of("dw = -lr m / (sqrt(v) + epsilon)")
        '\\\\Delta w = -\\\\eta m / (\\\\sqrt{v} + \\\\epsilon)'
    """
    rooted = ROOT.sub(r"sqrt{\1}", INNER.sub(r"\\langle \1, \2\\rangle", written))
    return NEIGHBOURS.sub(" ", "".join(_set(token) for token in TOKEN.finditer(rooted))).strip()


def _set(token: "re.Match[str]") -> str:
    text = token[0]
    if token["grad"]:
        return rf"\nabla_{token['by']}"
    if token["name"] is None:
        return SIGNS.get(text, text)
    name, index = token["name"], token["index"]
    if name in ("langle", "rangle"):
        return name
    known = NAMES.get(name, name if len(name) == 1 else rf"\text{{ {name} }}")
    if index is None:
        return known
    return rf"{known}_{{\text{{{index}}}}}" if index in WORDS_BELOW else f"{known}_{{{index}}}"
