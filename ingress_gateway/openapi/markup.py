"""HTML, written so that text cannot become markup by accident."""

import html
import re

_CODE = re.compile(r"`([^`]+)`")
_BOLD = re.compile(r"\*\*([^*]+)\*\*")
_EMPHASIS = re.compile(r"\*([^*]+)\*")
_EMPTY_ELEMENTS = frozenset({"input", "br", "hr"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: str | bool) -> Html:
    """Return an element. Children that are not Html are escaped; in an attribute's name ``_`` stands for ``-``."""
    shown = "".join(
        f" {key.strip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for key, value in attributes.items()
        if value is not False
    )
    if name in _EMPTY_ELEMENTS:
        return Html(f"<{name}{shown}>")
    return Html(f"<{name}{shown}>{join(*children)}</{name}>")


def join(*children: str) -> Html:
    """Return the children one after the other, those escaped that are not Html."""
    return Html("".join(child if isinstance(child, Html) else html.escape(child, quote=False) for child in children))


def inline(text: str) -> Html:
    """Return the markup of a text with `code`, **bold** and *emphasis*."""
    pieces = _CODE.split(text)
    return Html("".join(tag("code", piece) if index % 2 else _styled(piece) for index, piece in enumerate(pieces)))


def paragraphs(text: str) -> Html:
    """Return the paragraphs of a text, which empty lines part."""
    return join(*(tag("p", inline(" ".join(block.split()))) for block in text.strip().split("\n\n")))


def _styled(text: str) -> Html:
    escaped = html.escape(text, quote=False)
    return Html(_EMPHASIS.sub(r"<em>\1</em>", _BOLD.sub(r"<strong>\1</strong>", escaped)))
