"""HTML and SVG by elements: text and attributes are escaped here, so that no name can become markup anywhere else."""

from __future__ import annotations

from html import escape


class Markup(str):
    """Text that is markup already. Only `element` and constants of this package make it."""

    __slots__ = ()


def element(tag: str, *children: str | Markup, **attributes: str | float) -> Markup:
    """`<tag attributes>children</tag>`. Names take `_` for `-` (and a last `_` off); numbers are cut to a tenth."""
    told = "".join(f' {k.rstrip("_").replace("_", "-")}="{escape(_text(v))}"' for k, v in attributes.items())
    return Markup(f"<{tag}{told}>{join(children)}</{tag}>")


def join(parts: tuple[str | Markup, ...] | list[Markup]) -> Markup:
    """One after another, what is not markup escaped."""
    return Markup("".join(p if isinstance(p, Markup) else escape(p) for p in parts))


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
