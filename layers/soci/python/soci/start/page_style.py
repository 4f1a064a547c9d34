"""The style of the report's page. It names no font file, no picture and no address."""

from __future__ import annotations

STYLE = """
:root {
  --ground: #ffffff; --ink: #1b1b1f; --soft: #55555e; --line: #c9c9d1; --track: #d6d6de;
  --pull: #3b5b92; --run: #b06a14;
  --s0: #2d0b59; --s1: #5d177f; --s2: #8c2981; --s3: #b73779; --s4: #d3435a; --s5: #d4622a;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --ground: #15151b; --ink: #ececf1; --soft: #b3b3bd; --line: #45454f; --track: #3a3a44;
    --pull: #86a8e4; --run: #e0a04c;
    --s0: #fcfdbf; --s1: #fecf92; --s2: #fe9f6d; --s3: #f7705c; --s4: #de4968; --s5: #bb3f80;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1rem; max-width: 72rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.45 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { font-size: 1.45rem; margin: 0 0 .3rem; }
h2 { font-size: 1.1rem; margin: 1.8rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: .95rem; font-weight: 600; margin: .9rem 0 .15rem; }
p, dd { margin: .2rem 0; }
.soft, h3 span { color: var(--soft); font-weight: 400; }
code { font-family: ui-monospace, monospace; font-size: .9em; }
svg { display: block; width: 100%; }
ol.ways { list-style: none; margin: 0; padding: 0; }
ol.ways li { display: grid; grid-template-columns: 1fr auto; gap: 0 1rem; margin: .55rem 0; }
ol.ways svg, ol.ways .soft { grid-column: 1 / 3; }
ol.ways svg { height: .95rem; }
ol.ways .fastest { font-weight: 600; }
.pull { fill: var(--pull); } .run { fill: var(--run); }
dt { font-weight: 600; margin-top: .5rem; } dd { margin-left: 0; }
svg.layer { height: 2.6rem; }
.none { fill: var(--track); }
.whole { fill: none; stroke: var(--soft); stroke-dasharray: 5 4; vector-effect: non-scaling-stroke; }
.s0 { fill: var(--s0); } .s1 { fill: var(--s1); } .s2 { fill: var(--s2); }
.s3 { fill: var(--s3); } .s4 { fill: var(--s4); } .s5 { fill: var(--s5); }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { text-align: right; vertical-align: top; padding: .15rem 0 .15rem .8rem; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td { white-space: nowrap; } td.path { white-space: normal; min-width: 9rem; }
svg.swatch { display: inline-block; width: 1.1rem; height: 1.1rem; vertical-align: -.15rem; margin-right: .45rem; }
@media (max-width: 40rem) { .wide { display: none; } th, td { padding-left: .5rem; } }
@media print {
  body { max-width: none; font-size: 10pt; padding: 0; }
  svg.layer, li, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
}
"""
