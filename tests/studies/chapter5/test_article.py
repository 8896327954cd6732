"""The chapter's page: whole in itself, and silent on what other data don't show."""

from html.parser import HTMLParser

import pytest


class _Outside(HTMLParser):
    """Collects what a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        if tag in ("script", "img", "iframe", "link", "video", "source"):
            address = named.get("src") or named.get("href") or ""
            if address and not address.startswith("data:"):
                self.found.append(address)


def test_the_page_needs_nothing_else(folder):
    outside = _Outside()
    outside.feed((folder / "index.html").read_text("utf-8"))
    assert outside.found == []


@pytest.mark.parametrize(
    "only_of_the_chapter",
    ["the text's network, as recorded", "never quite", "sit on a plateau", "took over most of the work", "on mnist"],
)
def test_the_page_reads_nothing_into_other_data_that_is_not_there(folder, only_of_the_chapter):
    page = (folder / "index.html").read_text("utf-8").lower()
    assert only_of_the_chapter not in page
