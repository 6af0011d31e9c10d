import base64
import hashlib
import itertools
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from ingress_gateway.openapi.document import openapi_document
from ingress_gateway.openapi.markup import Html, inline, paragraphs, tag
from ingress_gateway.openapi.page import render_page
from tests.contract.gateway_api.description import Description

PAGE = render_page(openapi_document())
_VOID = {"meta", "link", "input", "br"}


class Elements(HTMLParser):
    """Reads a page strictly: every element is closed where it was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text[self.open[-1]] = self.text.get(self.open[-1], "") + data


@pytest.fixture(scope="module")
def page() -> Elements:
    elements = Elements()
    elements.feed(PAGE.html.decode())
    elements.close()
    assert not elements.open
    return elements


def test_the_page_loads_nothing(page: Elements) -> None:
    for name, attributes in page.found:
        assert name not in ("img", "iframe", "object", "embed", "base", "form")
        assert "src" not in attributes
        assert not any(attribute.startswith("on") or attribute == "style" for attribute in attributes)
        if name == "link":
            assert (attributes["href"] or "").startswith("data:")
        elif "href" in attributes:
            assert (attributes["href"] or "")[0] in "#/"
    assert "url(" not in page.text["style"]
    assert "@import" not in page.text["style"]
    assert not re.search(r"fetch|XMLHttpRequest|import\(|innerHTML", page.text["script"])


@pytest.mark.parametrize("element", ["style", "script"])
def test_the_policy_lets_in_exactly_what_the_page_holds(page: Elements, element: str) -> None:
    digest = base64.b64encode(hashlib.sha256(page.text[element].encode()).digest()).decode()
    assert f"{element}-src 'sha256-{digest}'" in PAGE.security_policy
    assert "unsafe" not in PAGE.security_policy
    assert [name for name, _ in page.found].count(element) == 1


def test_every_call_is_shown_with_its_command_and_linked(page: Elements) -> None:
    text = PAGE.html.decode()
    ids = [attributes["id"] for name, attributes in page.found if name == "article"]
    operations = Description(openapi_document()).operations()
    assert sorted(str(id_) for id_ in ids) == sorted(operation["operationId"] for _, _, operation in operations)
    for id_ in ids:
        assert f'<a href="#{id_}">' in text
        article = text.partition(f'<article id="{id_}"')[2].partition("</article>")[0]
        assert '<pre tabindex="0"><code>curl -s' in article
        assert "<h4>Answers</h4>" in article


def test_every_link_leads_somewhere(page: Elements) -> None:
    ids = {attributes.get("id") for _, attributes in page.found}
    for name, attributes in page.found:
        if name == "a" and (attributes["href"] or "").startswith("#"):
            assert (attributes["href"] or "")[1:] in ids


def test_the_page_can_be_used_without_sight_and_without_a_mouse(page: Elements) -> None:
    labels = [attributes.get("for") for name, attributes in page.found if name == "label"]
    assert [attributes["id"] for name, attributes in page.found if name == "input"] == labels
    assert page.found[0] == ("html", {"lang": "en"})
    assert [name for name, _ in page.found].count("main") == 1
    headings = [int(name[1]) for name, _ in page.found if re.fullmatch(r"h\d", name)]
    main = headings[headings.index(1) :]
    assert all(below - above <= 1 for above, below in itertools.pairwise(main)), "no level is left out"
    for name, attributes in page.found:
        if name == "pre" or attributes.get("class") == "table":
            assert attributes["tabindex"] == "0", "what scrolls can be reached by the keyboard"


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (tag("p", "<b>&"), "<p>&lt;b&gt;&amp;</p>"),
        (tag("a", Html("<b>x</b>"), href='"><script>'), '<a href="&quot;&gt;&lt;script&gt;"><b>x</b></a>'),
        (tag("button", "x", type="button", hidden=True, disabled=False), '<button type="button" hidden>x</button>'),
        (tag("input", id="a"), '<input id="a">'),
        (tag("td", aria_label="x", class_="y"), '<td aria-label="x" class="y"></td>'),
        (inline("a `<b>*` **c** *d* <e>"), "a <code>&lt;b&gt;*</code> <strong>c</strong> <em>d</em> &lt;e&gt;"),
        (paragraphs("a\nb\n\n<c>\n"), "<p>a b</p><p>&lt;c&gt;</p>"),
    ],
)
def test_text_never_becomes_markup(made: Html, expected: str) -> None:
    assert made == expected


def test_a_document_with_markup_in_it_is_shown_as_text() -> None:
    document: Any = openapi_document()
    hostile = "</p><script>alert(1)</script>"
    operation = document["paths"]["/api/v1/ledger"]["get"]
    operation["summary"] = operation["description"] = hostile
    document["tags"][0]["description"] = hostile
    assert b"<script>alert" not in render_page(document).html
