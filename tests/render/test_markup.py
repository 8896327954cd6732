import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from undertow.render.markup import mathml, paragraphs, phrase

WRITTEN = "p em strong code pre a ul ol li h1 h2 h3 h4 h5 h6 hr br blockquote span"
SET = (
    "math mrow mi mo mn mtext mspace ms msup msub msubsup mfrac mover munder munderover msqrt mroot mtable mtr mtd"
    " mstyle mpadded mphantom menclose mmultiscripts"
)


class Tags(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs


@given(st.text(alphabet="<>&\"'$\\{}[]()!*_`#-/:= \nabcjosript", max_size=80))
@example("<script>x</script>")
@example("![x](javascript:alert(1))")
@example("[x](javascript:alert(1))")
@example("<img src=x onerror=alert(1)>")
@example("`$x$` $`x`$ **$a$**")
def test_no_text_can_break_out(text):
    try:
        read = Tags(paragraphs(text))
    except ValueError as error:
        assert "LaTeX" in str(error)  # noqa: PT017  whether it raises depends on the text
        return
    assert set(read.tags) <= set(f"{WRITTEN} {SET}".split())
    assert not [name for name, value in read.attributes if name.startswith("on") or "javascript" in (value or "")]


@pytest.mark.parametrize("latex", [r"\text{<script>&}", r"a < b & c", r"\text{&lt;b&gt;}", "x'' > y", r"\|w\| \leq 1"])
def test_maths_is_well_formed_whatever_is_in_it(latex):
    ElementTree.fromstring(mathml(latex))  # noqa: S314  our own output


def test_maths_says_what_it_means():
    tree = ElementTree.fromstring(mathml(r"\sigma'(z_1) < \frac{\partial C}{\partial a}"))  # noqa: S314  our own output
    assert "".join(tree.itertext()) == "σ′(z1)<∂C∂a"
    assert [part.tag for part in tree.iter("mfrac")] == ["mfrac"]
    assert not list(tree.iter("msup"))


@pytest.mark.parametrize(
    ("latex", "complaint"),
    [(r"\sigm(x)", r"the command \\sigm"), (r"\frac{1", "braces"), (r"\left( x", "ExtraLeft")],
)
def test_latex_that_cant_be_set_is_refused_not_printed(latex, complaint):
    with pytest.raises(ValueError, match=complaint):
        mathml(latex)


def test_money_is_not_maths():
    assert "<math" not in paragraphs(r"from $5 to $6, or \$x\$")


def test_links_take_the_names_of_what_they_lead_to():
    names = {"speed": "Figure 3"}
    assert phrase("see [](#speed)", names) == 'see <a href="#speed">Figure 3</a>'
    assert phrase("see [there](#speed)", names) == 'see <a href="#speed">there</a>'
    with pytest.raises(ValueError, match="#sped, but the page has no such id; it has speed"):
        phrase("see [](#sped)", names)


def test_common_indentation_is_no_code_block():
    text = """
        First.

        - one
        - two
    """
    assert Tags(paragraphs(text)).tags == ["p", "ul", "li", "li"]


def test_a_comma_stays_with_its_maths():
    assert "</math>,</span>" in phrase("with $x$, then")


def test_only_the_maths_before_a_comma_is_tied_to_it():
    text = paragraphs("Where $x$ is small and so is $y$, all is well.")
    [tied] = re.findall(r'<span class="tied">(.*?)</span>', text)
    assert tied.count("<math") == 1
    assert tied.endswith("</math>,")
