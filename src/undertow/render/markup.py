"""Text for a page: a little Markdown and LaTeX into HTML and MathML that nothing in it can break out of.

Markdown here is CommonMark without raw HTML and without images, with ``$maths$`` inline. A link with no text to
something on the page, ``[](#speed)``, takes the name the page gives it: "Figure 3", "equation (121)".
"""

import html
import re
from collections.abc import Mapping
from functools import cache
from inspect import cleandoc
from itertools import zip_longest
from typing import Any
from xml.etree.ElementTree import Element, tostring

from latex2mathml.converter import convert_to_element
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markupsafe import Markup

from undertow.formatting import typeset
from undertow.printable import printable

# As in pandoc: no space inside the dollars, no digit after the last, so that "$5 and $6" stays money.
_DOLLARS = re.compile(r"\$(?!\s)((?:\\.|[^\\$])+?)(?<!\s)\$(?!\d)", re.DOTALL)


def paragraphs(text: str, names: Mapping[str, str] | None = None) -> Markup:
    """Markdown as HTML blocks.

    Args:
        text: Markdown; indentation common to all lines is taken off.
        names: what a page calls the things on it, id -> name. With None links into the page aren't looked at.

    Raises:
        ValueError: a link to an id that isn't in ``names``, or LaTeX that can't be set.

    Example:
        >>> print(paragraphs("A *small* gradient: see [](#speed).", {"speed": "Figure 2"}))
        <p>A <em>small</em> gradient: see <a href="#speed">Figure 2</a>.</p>
    """
    return _tied(_markdown().render(cleandoc(text), {"names": names}))


def phrase(text: str, names: Mapping[str, str] | None = None) -> Markup:
    """Markdown as inline HTML, for captions and cells. Arguments and errors as in ``paragraphs``.

    Example:
        >>> print(phrase("**1 < 2** & so on"))
        <strong>1 &lt; 2</strong> &amp; so on
    """
    return _tied(_markdown().renderInline(text, {"names": names}))


def escaped(text: str) -> str:
    """Markdown that reads as exactly this text, whatever is in it: for messages that name parts of a model.

    Example:
        >>> print(phrase(escaped("a*b*c [x](#y) $z$ <b> `c`")))
        a*b*c [x](#y) $z$ &lt;b&gt; `c`
    """
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", printable(" ".join(text.split())))


def code(text: str) -> str:
    """Markdown of this text as code: for the name of a part of a model.

    Example:
        >>> print(phrase(code("layers.*.<b>`")))
        <code>layers.*.&lt;b&gt;`</code>
    """
    line = printable(" ".join(text.split()))
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    padding = " " if "`" in line else ""
    return f"{fence}{padding}{line}{padding}{fence}" if line else ""


def mathml(latex: str, display: bool = False, spoken: str = "") -> Markup:
    """LaTeX as MathML, which browsers set themselves.

    Args:
        latex: what latex2mathml understands.
        display: set on a line of its own, large.
        spoken: words for those who listen; without them a screen reader reads the MathML.

    Raises:
        ValueError: unbalanced braces, or a command that isn't known.

    Example:
        >>> print(mathml("x^2"))
        <math display="inline"><mrow><msup><mi>x</mi><mn>2</mn></msup></mrow></math>
        >>> mathml(r"\\sigm")
        Traceback (most recent call last):
        ValueError: can't typeset the LaTeX \\sigm: it has the command \\sigm, which isn't known; ...
    """
    bare = re.sub(r"\\.", "", latex)
    if bare.count("{") != bare.count("}"):
        raise ValueError(f"can't typeset the LaTeX {latex}: its braces don't balance")
    try:
        tree = convert_to_element(latex, display="block" if display else "inline")
    except Exception as error:  # latex2mathml's errors share no base and say only their name
        raise ValueError(f"can't typeset the LaTeX {latex}: {type(error).__name__}") from error
    del tree.attrib["xmlns"]
    if spoken:
        tree.set("aria-label", spoken)
    for element in tree.iter():
        element.text = html.unescape(element.text or "")  # as latex2mathml leaves it; tostring escapes it again
    for element in tree.iter():
        _refuse_unknown(element, latex)
        _set_as_tex_does(element)
    return Markup(tostring(tree, encoding="unicode"))  # noqa: S704  ElementTree escapes text and attributes


def _tied(text: str) -> Markup:
    """Browsers break lines between maths and the comma after it."""
    together = re.sub(
        r"(<math(?:(?!</math>).)*</math>[,.;:!?)’”]+)", r'<span class="tied">\1</span>', text, flags=re.DOTALL
    )
    return Markup(together)  # noqa: S704  Markdown with raw HTML off


def _refuse_unknown(element: Element, latex: str) -> None:
    if element.tag in {"mi", "mo"} and re.match(r"\\[A-Za-z]", element.text or ""):
        raise ValueError(
            f"can't typeset the LaTeX {latex}: it has the command {element.text}, which isn't known;"
            " write it with others or as \\text{...}"
        )


def _set_as_tex_does(element: Element) -> None:
    """Signs that TeX sets close, as it does letters, and browsers as operators with space around."""
    if element.tag == "mo" and element.text in {"∂", "∇"}:
        element.tag = "mi"
        element.set("mathvariant", "normal")
    elif element.tag == "mo" and element.text in {"/", "|", "‖"} and "form" not in element.attrib:
        element.attrib.update(lspace="0", rspace="0", stretchy="false")
    elif element.tag == "msup" and [part.tag for part in element] == ["mi", "mi"] and element[1].text in _PRIMES:
        # A prime is raised already: as a superscript it shrinks and floats, unless the font is a mathematical one.
        element.tag = "mrow"


_PRIMES = {"\u2032", "\u2033"}


@cache
def _markdown() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "typographer": True})
    parser.disable("image").enable("smartquotes")
    parser.inline.ruler.before("escape", "maths", _maths)
    parser.core.ruler.push("names", _name_links)
    parser.core.ruler.push("numbers", _set_numbers)
    parser.add_render_rule("maths", _render_maths)
    return parser


def _maths(state: StateInline, silent: bool) -> bool:
    found = _DOLLARS.match(state.src, state.pos, state.posMax)
    if not found:
        return False
    if not silent:
        state.push("maths", "math", 0).content = found[1]
    state.pos = found.end()
    return True


def _render_maths(_: RendererHTML, tokens: list[Token], index: int, *__: Any) -> str:
    return mathml(tokens[index].content)


def _name_links(state: StateCore) -> None:
    names = state.env.get("names")
    if names is not None:
        for block in state.tokens:
            block.children = _named(block.children or [], names) if block.type == "inline" else block.children


def _set_numbers(state: StateCore) -> None:
    for block in state.tokens:
        for token in block.children or []:
            token.content = typeset(token.content) if token.type == "text" else token.content


def _named(tokens: list[Token], names: Mapping[str, str]) -> list[Token]:
    out: list[Token] = []
    for token, following in zip_longest(tokens, tokens[1:]):
        out.append(token)
        address = str(token.attrGet("href") or "")
        if token.type == "link_open" and address.startswith("#"):
            if address[1:] not in names:
                known = ", ".join(sorted(names))
                raise ValueError(f"a link goes to {address}, but the page has no such id; it has {known}")
            if following and following.type == "link_close":
                out.append(Token("text", "", 0, content=names[address[1:]]))
    return out
