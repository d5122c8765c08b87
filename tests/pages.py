"""A page as a strict reader takes it: whole, with nothing out of place, and with nothing to fetch or to run."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta"}
HTML = {
    *("html", "head", "meta", "title", "style", "body", "section", "div"),
    *("h1", "h2", "h3", "p", "strong", "small", "span"),
    *("table", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "dl", "dt", "dd"),
}
SVG = {"svg", "path", "line", "rect", "circle", "text", "title"}
ONLY_IN = {
    "head": {"html"},
    "body": {"html"},
    "meta": {"head"},
    "style": {"head"},
    "title": {"head", *SVG},
    "thead": {"table"},
    "tbody": {"table"},
    "tr": {"thead", "tbody"},
    "th": {"tr"},
    "td": {"tr"},
    "dt": {"dl"},
    "dd": {"dl"},
    "figcaption": {"figure"},
}
PHRASES = {"strong", "small", "span", "svg", "path", "line", "rect", "circle", "text", "title"}
"""What may stand in a paragraph, a heading or a cell's text."""
ONLY_PHRASES = {"p", "h1", "h2", "h3", "span", "strong", "small", "figcaption"}
FETCH = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href", "style"}


class Page(HTMLParser):
    """Reads one. AssertionError with what is wrong and where."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        assert text.startswith("<!doctype html>\n<html "), "no doctype, or no html after it"
        for fetched in ("http://", "https://", "//www.", "url(", "@import", "javascript:"):
            assert fetched not in text, f"{fetched} in the page"
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"
        for one in ("html", "head", "body", "h1"):
            assert self.tags.count(one) == 1, f"{self.tags.count(one)} of {one}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        where = f"<{tag}> at line {self.getpos()[0]}, column {self.getpos()[1]}, in {self._open}"
        inside = self._open[-1] if self._open else ""
        assert tag in HTML | SVG, f"unknown: {where}"
        assert not tag.startswith("svg") or inside not in SVG, where
        assert tag not in SVG - {"svg", "title"} or "svg" in self._open, where
        assert tag not in ONLY_IN or inside in ONLY_IN[tag], where
        assert inside not in ONLY_PHRASES or tag in PHRASES, where
        assert inside not in ("table", "tr", "thead", "tbody", "dl") or tag in ONLY_IN, where
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"an attribute twice: {where}"
        assert all(value is not None for _, value in attrs), where
        assert not FETCH & set(names), where
        assert not any(name.startswith("on") for name in names), where
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.words += data
            inside = self._open[-1]
            assert inside not in ("html", "head", "table", "tr", "thead", "tbody", "dl", "svg"), f"text in {inside}"
