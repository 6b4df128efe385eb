"""The style sheet of a report: one for phones, wide screens, dark rooms and paper.

Rules: no fonts, pictures or sheets from elsewhere; the colours are those of `plots.py`. Nothing is wider than the
screen: long words break, tables with many columns become lists on a phone.
"""

from __future__ import annotations

from autotune.reports.plots import COLOURS

_SHEET = """
:root { color-scheme: light dark; --page: #f3f5f7; --card: #fff; --ink: #17212b; --soft: #586573; --rule: #dfe4ea;
  --faint: #eef1f4; --accent: #2b6a99; --work: #7b8794; --good: #2e7d4f; --bad: #b3372f; }
@media (prefers-color-scheme: dark) { :root { --page: #10151a; --card: #1a2128; --ink: #e7ecf1; --soft: #9fabb7;
  --rule: #303b46; --faint: #232c35; --accent: #7db8e0; --work: #75828f; --good: #6cc48f; --bad: #f08a80; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); overflow-wrap: anywhere;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: clamp(12px, 3vw, 36px); }
h1, h2, h3, h4 { line-height: 1.25; margin: 0; text-wrap: balance; }
h1 { font-size: clamp(1.35rem, 3.4vw, 1.9rem); letter-spacing: -0.01em; }
h2 { font-size: clamp(1.15rem, 2.6vw, 1.45rem); letter-spacing: -0.01em; }
h3 { font-size: 1.05rem; margin-bottom: .7rem; }
h4 { font-size: .95rem; margin: .8rem 0 .3rem; }
p { margin: .4rem 0; }
a { color: var(--accent); }
code { font: .88em ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; background: var(--faint);
  padding: .1em .35em; border-radius: 4px; }
pre { background: var(--faint); padding: .8rem; border-radius: 8px; white-space: pre-wrap; font-size: .82rem; }
.eyebrow { color: var(--soft); font-size: .8rem; letter-spacing: .04em; text-transform: uppercase; margin: 0 0 .3rem; }
.eyebrow.name { text-transform: none; letter-spacing: 0; }
.soft, figcaption { color: var(--soft); font-size: .88rem; }
.top { padding: .4rem .2rem 1rem; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 14px; margin: 0 0 14px;
  padding: clamp(14px, 2.4vw, 24px); }
article + article { margin-top: 40px; }
.hero { border-top: 5px solid var(--accent); }
.hero.failed { border-top-color: var(--bad); }
.next { margin-top: .6rem; padding-left: .8rem; border-left: 3px solid var(--accent); }
.tiles { display: grid; gap: 10px; grid-template-columns: repeat(auto-fit, minmax(8.4rem, 1fr)); margin: 1rem 0 0; }
.tile { background: var(--faint); border-radius: 10px; padding: .65rem .8rem .7rem; }
.tile dt { color: var(--soft); font-size: .78rem; }
.tile dd { margin: 0; font-size: 1.35rem; font-weight: 650; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tile small { display: block; color: var(--soft); font-size: .76rem; font-weight: 400; line-height: 1.35; }
.meter { display: block; height: 5px; border-radius: 3px; background: var(--rule); margin: .35rem 0 .3rem;
  overflow: hidden; }
.meter i { display: block; height: 100%; background: var(--accent); }
.facts { display: grid; grid-template-columns: minmax(7rem, 11rem) 1fr; gap: .35rem 1rem; margin: 0; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; min-width: 0; }
.columns { display: grid; gap: 0 28px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); }
.columns > * { min-width: 0; }
.words { margin: 0; padding-left: 1.1rem; } .words li { margin: .25rem 0; }
.bar { display: flex; height: 38px; border-radius: 8px; overflow: hidden; margin: .2rem 0 .9rem; }
.bar span { color: #fff; font-size: .82rem; font-weight: 650; display: grid; place-items: center; overflow: hidden;
  white-space: nowrap; min-width: 2px; border-left: 1px solid var(--card); }
.bar span:first-child { border-left: 0; }
.losses { list-style: none; margin: 0; padding: 0; }
.losses li { display: grid; grid-template-columns: 1.7rem 1fr; gap: .6rem; margin: .45rem 0; }
.key { width: 1.7rem; height: 1.7rem; border-radius: 6px; color: #fff; font-size: .82rem; font-weight: 650;
  display: grid; place-items: center; }
.useful { background: var(--work); }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; margin: 0 0 .4rem; list-style: none;
  font-size: .86rem; color: var(--soft); }
.legend li { display: flex; align-items: center; gap: .4rem; } .legend svg { width: 22px; height: 16px; flex: none; }
figure { margin: 0 0 .6rem; }
.plot { display: grid; grid-template-columns: 2.7rem minmax(0, 1fr); font-size: .74rem; color: var(--soft);
  font-variant-numeric: tabular-nums; margin-top: .5rem; }
.unit { grid-column: 1 / -1; padding-left: 2.7rem; } .y { position: relative; }
.y span { position: absolute; right: .45rem; transform: translateY(-50%); white-space: nowrap; line-height: 1; }
.box { border: solid var(--rule); border-width: 1px; border-radius: 4px; background: var(--faint); overflow: hidden; }
.box svg { display: block; width: 100%; height: 100%; }
.x { grid-column: 2; position: relative; height: 1.35rem; }
.x span { position: absolute; top: .25rem; transform: translateX(-50%); white-space: nowrap; line-height: 1; }
.x span.last { transform: translateX(-100%); }
.x-name { grid-column: 2; text-align: right; }
.square { max-width: 30rem; grid-template-columns: 3.4rem minmax(0, 1fr); } .square .unit { padding-left: 3.4rem; }
.square .square .box { aspect-ratio: 1; }
svg path, svg rect { vector-effect: non-scaling-stroke; }
.rule { stroke: var(--rule); stroke-width: 1; fill: none; }
.failed { stroke: #000; stroke-width: 1.4; }
rect { stroke: var(--card); stroke-width: .5; }
.line { fill: none; stroke-width: 1.4; } .filled { opacity: .28; }
.line.busy { stroke: C0; } .filled.busy { fill: C0; } .line.GiB { stroke: C5; } .filled.GiB { fill: C5; }
.limit { stroke: var(--ink); stroke-width: 1.2; stroke-dasharray: 6 4; fill: none; }
.band { fill: var(--accent); opacity: .13; } .diagonal { stroke: var(--soft); stroke-width: 1; fill: none; }
.dot { stroke: var(--card); stroke-width: .8; opacity: .88; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 500; font-size: .8rem; vertical-align: bottom; }
th, td { text-align: right; padding: .4rem .5rem; border-bottom: 1px solid var(--rule); }
td { vertical-align: top; }
th:first-child, td:first-child, .text { text-align: left; padding-left: 0; }
.text:not(:first-child) { padding-left: 1rem; } th:last-child, td:last-child { padding-right: 0; }
tbody tr:last-child > * { border-bottom: 0; }
.share { display: block; height: 5px; border-radius: 3px; background: var(--work); margin: .25rem 0 0 auto; }
.advice { margin: 0; padding: 0; list-style: none; counter-reset: advice; }
.advice li { counter-increment: advice; position: relative; padding-left: 2.6rem; margin: .8rem 0; }
.advice li::before { content: counter(advice); position: absolute; left: 0; top: .05rem; width: 1.8rem; height: 1.8rem;
  border-radius: 50%; background: var(--accent); color: var(--card); display: grid; place-items: center;
  font-weight: 650; font-size: .9rem; }
.advice strong { display: block; font-weight: 600; }
footer { color: var(--soft); font-size: .82rem; padding: .4rem .2rem 1rem; }
@media (max-width: 620px) {
  th, td { padding: .35rem .3rem; } table { font-size: .82rem; } th { font-size: .72rem; }
  .facts { grid-template-columns: 1fr; gap: 0; } .facts dd { margin-bottom: .5rem; } .facts dt { font-size: .8rem; }
  .plot { grid-template-columns: 2.2rem minmax(0, 1fr); } .unit { padding-left: 2.2rem; }
  .square { grid-template-columns: 3.2rem minmax(0, 1fr); } .square .unit { padding-left: 3.2rem; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); } .tile:last-child:nth-child(odd) { grid-column: 1 / -1; }
  .list .text:not(:first-child) { padding-left: 0; }
  .list thead { display: none; } .list tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--rule); }
  .list tr:last-child { border-bottom: 0; } .list td { display: flex; justify-content: space-between; gap: 1rem;
  border: 0; padding: .12rem 0; text-align: right; } .list td::before { content: attr(data-label); color: var(--soft);
  text-align: left; } .list td:first-child { font-weight: 600; text-align: left; }
  .list td:first-child::before { content: none; } .list .text:last-child { display: block; text-align: left; }
  .list .text:last-child::before { display: block; } }
@media print {
  :root { color-scheme: light; --page: #fff; --card: #fff; --ink: #000; --soft: #444; --rule: #ccc; --faint: #f4f4f4;
  --accent: #2b6a99; --work: #7b8794; }
  @page { margin: 14mm; } body { font-size: 10.5pt; } main { max-width: none; padding: 0; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  .card { border: 0; border-top: 1px solid var(--rule); border-radius: 0; padding: 10px 0; margin: 0; }
  figure, .plot, tr, .tile, .losses li, .advice li { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .tiles { grid-template-columns: repeat(5, minmax(0, 1fr)); } .tile:last-child:nth-child(odd) { grid-column: auto; }
  article + article { break-before: page; margin: 0; } a { color: inherit; text-decoration: none; } }
"""


def style_sheet() -> str:
    """Return the style sheet."""
    sheet = _SHEET
    for number, colour in enumerate(COLOURS):
        sheet = sheet.replace(f" C{number};", f" {colour};")
    levels = "".join(
        f".n{number} {{ fill: {colour}; background: {colour}; }}\n" for number, colour in enumerate(COLOURS)
    )
    losses = "".join(f".loss{number} {{ background: {colour}; }}\n" for number, colour in enumerate(COLOURS))
    return f"{sheet}{levels}{losses}"
