"""The sheet that every page of ours is written on: one style, light and dark, and nothing is fetched or run."""

from __future__ import annotations

from weirflow.lab.markup import Markup, element

COLOURS = 8

STYLE = Markup(
    """
:root { --text: #1a1a1a; --back: #ffffff; --faint: #d9d9d9; --band: #f0f0f0; --wrong: #fbe3d6; --ours: #c43c00;
  --c0: #0068a8; --c1: #9a6700; --c2: #00795a; --c3: #a8427f; --c4: #2f8fc4; --c5: #5b4bb5; --c6: #6b6b6b;
  --c7: #6d7000; --expected: #dbe9f4 }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8e8; --back: #16181a; --faint: #3c4043; --band: #22262a;
  --wrong: #43291c; --ours: #ff7f45; --c0: #56b4e9; --c1: #e69f00; --c2: #2bc79a; --c3: #e29ac4; --c4: #9ad1f2;
  --c5: #b3a6ff; --c6: #b0b0b0; --c7: #d3d65a; --expected: #223544 } }
body { color: var(--text); background: var(--back); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 74rem; padding: 0 1rem; overflow-wrap: anywhere }
h2 { border-top: 1px solid var(--faint); margin-top: 3rem; padding-top: 1rem }
.scroll { overflow-x: auto; background: linear-gradient(to left, var(--back) 30%, transparent) 100% 0 / 3rem 100%
  no-repeat local, linear-gradient(to left, var(--faint), transparent) 100% 0 / .8rem 100% no-repeat scroll }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0 }
th, td { padding: .2rem .45rem; text-align: right; vertical-align: top; white-space: nowrap;
  border-bottom: 1px solid var(--faint) }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--back);
  background-clip: padding-box }
td small { display: block; font-size: .75em; font-weight: 400 }
tr.ours { font-weight: 600 }
tr.bound { font-style: italic }
.plots { display: grid; gap: 1rem 2rem; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)) }
.few { display: grid; gap: .5rem 1.5rem; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)) }
figure { margin: 0 }
figcaption { font-weight: 600 }
svg { width: 100%; height: auto; font-size: 12px }
.scroll > svg { min-width: 56rem }
@media (max-width: 40rem) { figure svg { font-size: 16px } }
svg text { fill: var(--text) }
.grid { stroke: var(--faint) }
.line { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke }
.line.ours { stroke: var(--ours); stroke-width: 3 }
.dashed { stroke-dasharray: 6 4 }
.dotted { stroke-dasharray: 2 3 }
.judged { fill: var(--band) }
.wrong { fill: var(--wrong) }
.band { fill: var(--expected) }
.alarm { fill: none; stroke: var(--ours); stroke-width: 2 }
.truth { stroke: var(--text); stroke-width: 2 }
.bars rect { fill: var(--c0) }
.bars.ours rect { fill: var(--ours) }
.legend span { margin-right: 1rem; white-space: nowrap }
svg.swatch { width: 26px; vertical-align: middle }
.refused { color: var(--ours) }
"""
    + "\n".join(f".c{i} {{ stroke: var(--c{i}) }}" for i in range(COLOURS))
)
_NOTHING_ELSE = "default-src 'none'; style-src 'unsafe-inline'"


def sheet(title: str, *body: str | Markup) -> str:
    """A whole page."""
    head = element(
        "head",
        Markup('<meta charset="utf-8"><meta name="color-scheme" content="light dark">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_NOTHING_ELSE}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", title),
        element("style", STYLE),
    )
    return "<!doctype html>\n" + element("html", head, element("body", *body), lang="en") + "\n"
