"""The looks of an HTML report, and the shapes that it draws more than once. ASCII alone, and no URL."""

from wsprobe.reports._html_write import Html

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1b2330; --dim: #5b6675; --line: #d9dee6;
  --soft: #eef1f5; --accent: #1f5fc4; --bad: #b3261e; --bad-soft: #fdeceb; --warning: #8a5a00; --warning-soft: #fff4dd;
  --good: #17703a; --good-soft: #e6f4ea; --altered: #7a3fa8; --altered-soft: #f4ebfb; --mark: #ffe08a; --busy: #1f5fc4;
  --dns: #7a3fa8; --tcp: #0f7c86; --tls: #b26a00; --proxy: #8b5e3c; --upgrade: #1f5fc4; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1a2029; --ink: #e3e8ef; --dim: #9aa6b5;
  --line: #303947; --soft: #232b36; --accent: #82b1ff; --bad: #ff8a80; --bad-soft: #3a1f20; --warning: #f2bd5c;
  --warning-soft: #362a14; --good: #7ad39b; --good-soft: #183124; --altered: #cf9ff5; --altered-soft: #2e2140;
  --mark: #6b5410; --busy: #82b1ff; --dns: #cf9ff5; --tcp: #5cc7d0; --tls: #f2bd5c; --proxy: #cfa27e;
  --upgrade: #82b1ff; } }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); overflow-wrap: anywhere;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 82rem; margin: 0 auto; padding: 1.5rem clamp(.75rem, 3vw, 2rem) 3rem; }
.sprite { position: absolute; width: 0; height: 0; }
.vh { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
.skip { position: absolute; left: .5rem; top: -4rem; background: var(--card); padding: .5rem 1rem; z-index: 1; }
.skip:focus { top: .5rem; }
a { color: var(--accent); text-underline-offset: .15em; text-decoration-thickness: 1px; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 2px; }
:target { outline: 3px solid var(--accent); outline-offset: -1px; border-radius: 4px; }
h1 { font-size: 1.45rem; line-height: 1.25; margin: 0 0 .25rem; font-weight: 650; }
h2, h3, h4, h5 { line-height: 1.3; margin: 0 0 .6rem; }
h2 { font-size: 1.12rem; } h3 { font-size: 1rem; }
h4, h5 { font-size: .8rem; color: var(--dim); margin: 1rem 0 .25rem; font-weight: 600; letter-spacing: .02em; }
p { margin: 0 0 .6rem; } ul { margin: 0; padding-left: 1.15rem; } li + li { margin-top: .2rem; }
code, pre { font: .86em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { background: var(--soft); border-radius: 6px; padding: .6rem .8rem; margin: .25rem 0 .6rem;
  white-space: pre-wrap; }
pre code { font-size: .86rem; }
mark { background: var(--mark); color: inherit; border-radius: 2px; }
.dim, .hint, .more { color: var(--dim); } .hint, .more { font-size: .86rem; }
header { margin-bottom: 1rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem 1.25rem;
  margin: 0 0 1rem; }
section > :last-child, article > :last-child { margin-bottom: 0; }
.i, .end { fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }
.i { width: 1.05em; height: 1.05em; vertical-align: -.16em; flex: none; }
h2 > .i, h3 > .i, .title .i, .plain th .i { margin-right: .4rem; }
.i.present { color: var(--good); } .i.absent, .i.bad { color: var(--bad); } .i.altered { color: var(--altered); }
.i.warning { color: var(--warning); } .i.uncompared, .i.unobserved, .i.note { color: var(--dim); }
.verdict { border-left: 5px solid var(--dim); } .verdict.error { border-left-color: var(--bad); }
.verdict.warning { border-left-color: var(--warning); } .verdict.well { border-left-color: var(--good); }
.verdict > h2, .verdict > h3 { font-size: 1.15rem; margin-bottom: .35rem; } .verdict .title { font-size: 1.1rem; }
.message { font-size: 1.05rem; max-width: 62rem; }
.fix { margin-top: .8rem; max-width: 70rem; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: 0 .25rem 1rem; font-size: .9rem; }
.badge { font-size: .75rem; font-weight: 600; padding: .1rem .5rem; border-radius: 99px; border: 1px solid currentColor;
  vertical-align: .1em; white-space: nowrap; }
.badge.proven { color: var(--bad); background: var(--bad-soft); } .badge.likely { color: var(--warning); }
.badge.possible { color: var(--dim); border-style: dashed; }
.where { color: var(--dim); font-weight: 500; font-size: .95rem; }
.finding { padding: .9rem 0; border-top: 1px solid var(--line); } h2 + .finding, h3 + .finding { border-top: 0;
  padding-top: 0; }
.path { list-style: none; display: flex; align-items: stretch; padding: 0; margin: 1.1rem 0; }
.path li { margin: 0; }
.path .hop { flex: 0 1 auto; min-width: 0; border: 1.5px solid var(--line); border-radius: 8px; padding: .5rem .8rem;
  background: var(--soft); display: flex; flex-direction: column; justify-content: center; }
.path .hop small { color: var(--dim); }
.path .unseen { border-style: dashed; background: none; color: var(--dim); }
.path .guilty.hop { border-color: var(--bad); background: var(--bad-soft); }
.path .way { flex: 1 1 4rem; min-width: 2.5rem; position: relative; display: flex; align-items: center;
  justify-content: center; padding: 0 .7rem; }
.path .way::before { content: ""; position: absolute; left: .3rem; right: .5rem; top: 50%;
  border-top: 2px solid var(--dim); }
.path .way::after { content: ""; position: absolute; right: .35rem; top: calc(50% - 4px); width: 9px; height: 9px;
  border: solid var(--dim); border-width: 2px 2px 0 0; transform: rotate(45deg); }
.path .dotted::before { border-top-style: dotted; }
.path .way.guilty { flex-grow: 2; flex-basis: 9rem; }
.path .way.guilty::before { border-top: 3px dashed var(--bad); } .path .way.guilty::after { border-color: var(--bad); }
.path .mark { position: relative; z-index: 0; background: var(--bad-soft); color: var(--bad); font-weight: 600;
  border: 1.5px solid var(--bad); border-radius: 99px; padding: .15rem .6rem; font-size: .85rem; text-align: center;
  margin-right: .7rem; }
.path .mark .i { color: inherit; margin-right: .25rem; }
.path.long .hop { padding: .45rem .55rem; flex-basis: auto; } .path.long .way { flex: 1 1000 1.8rem;
  min-width: 1.8rem; padding: 0 .3rem; }
.path.long .way.guilty { flex: 1 0 auto; }
.filters { display: flex; flex-wrap: wrap; gap: .5rem 1.25rem; align-items: center; margin: 0 0 .8rem;
  font-size: .9rem; }
.filters input[type=search] { font: inherit; color: inherit; background: var(--page); border: 1px solid var(--dim);
  border-radius: 6px; padding: .25rem .5rem; width: 12rem; max-width: 60vw; }
.filters input[type=checkbox] { width: 1rem; height: 1rem; vertical-align: -.1em; accent-color: var(--accent); }
.filters output { color: var(--dim); }
table { width: 100%; border-collapse: collapse; font-size: .9rem; }
caption { height: 0; } th, td { text-align: left; vertical-align: top; padding: .35rem .6rem;
  border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--dim); font-size: .82rem; }
tbody th { font-weight: 600; } .plain { margin-bottom: .5rem; } .plain th { width: 34%; }
.times .plain th, .plain thead th { width: auto; }
.matrix { table-layout: fixed; } .matrix th:first-child { width: 22%; }
.matrix .group th { color: var(--dim); font-size: .82rem; padding-top: .9rem; }
.matrix .note { display: block; color: var(--dim); font-weight: 400; }
.matrix.many th:first-child { width: 16%; } .matrix td code { overflow-wrap: anywhere; }
.matrix td .word ~ code { display: block; } .matrix .word { font-weight: 600; font-size: .86rem; }
.matrix td .i { margin-right: .35rem; }
td.absent { background: var(--bad-soft); } td.absent .word { color: var(--bad); }
td.altered { background: var(--altered-soft); } td.altered .word { color: var(--altered); }
.allowed td { background: none; } .allowed .i { color: var(--dim) !important; }
.allowed .word { color: var(--dim) !important; }
.unobserved .word { color: var(--dim); font-weight: 400; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; color: var(--dim); font-size: .84rem;
  margin: .7rem 0 .4rem; }
.lane { display: grid; grid-template-columns: 9rem minmax(0, 1fr); column-gap: 1rem; align-items: center;
  margin-bottom: .5rem; }
.lane > b { text-align: right; } .lane .key { grid-column: 2; margin: 0; font-size: .84rem; color: var(--dim);
  display: flex; flex-wrap: wrap; gap: 0 1rem; }
.lane svg { display: block; background: var(--soft); border-radius: 4px; }
.lane > svg[aria-hidden] { background: none; }
.swatch { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .35em; }
svg text { fill: var(--ink); font-size: 12px; } svg .tick { stroke: var(--dim); fill: none; }
svg text.tick { stroke: none; fill: var(--dim); }
svg .quiet { stroke: var(--dim); stroke-width: 2; stroke-dasharray: 2 4; }
svg .busy { stroke: var(--busy); stroke-width: 3; } svg .grid { stroke: var(--line); }
svg .message { fill: var(--busy); stroke: var(--busy); } svg .binary { fill: var(--soft); }
svg .other { fill-opacity: .5; }
.swatch.text { background: var(--busy); } .swatch.binary, .swatch.other { border: 1.5px solid var(--busy); }
.swatch.other { background: linear-gradient(135deg, var(--busy) 50%, transparent 50%); }
.swatch.dots { border-bottom: 5px dotted var(--busy); border-radius: 0; }
svg .many { fill: var(--dim); font-size: 10.5px; }
svg .uncounted { stroke: var(--busy); stroke-width: 5; stroke-dasharray: 1.5 3.5; }
.beat { fill: none; stroke: currentColor; stroke-width: 1.6; color: var(--altered); }
.lane .events { grid-column: 2; font-size: .84rem; color: var(--dim); } .events table { color: var(--ink); }
.events td, .events th { padding: .12rem .6rem; } .events { break-inside: auto; }
svg .end { color: var(--bad); } svg .close { font-weight: 600; }
.legend .i { color: var(--bad); } .legend .beat { color: var(--altered); }
.headers .legend .present { color: var(--good); }
.headers .legend .altered { color: var(--altered); }
.headers .legend .uncompared, .headers .legend .unobserved { color: var(--dim); }
.shake { fill: var(--line); background: var(--line); }
.phase-dns { fill: var(--dns); background: var(--dns); } .phase-tcp { fill: var(--tcp); background: var(--tcp); }
.phase-tls { fill: var(--tls); background: var(--tls); }
.phase-proxy { fill: var(--proxy); background: var(--proxy); }
.phase-upgrade { fill: var(--upgrade); background: var(--upgrade); }
.phase-other { fill: var(--dim); background: var(--dim); }
.p50 { fill: var(--upgrade); } .p95 { fill: var(--upgrade); opacity: .55; } .p99 { fill: var(--upgrade); opacity: .25; }
.shares { border-radius: 5px; margin-top: .5rem; display: block; } .share { stroke: var(--card); }
.share.bad { fill: var(--bad); } .share.warning { fill: var(--warning); } .share.note { fill: var(--dim); }
.share.present { fill: var(--good); }
summary { cursor: pointer; padding: .3rem 0; } summary h2 { display: inline; }
.hops summary span::before { content: "\\2002"; } .hops summary span { color: var(--dim); }
.hops details + details { border-top: 1px solid var(--line); }
.kind > details > summary { padding: .6rem 0; }
dl { margin: .4rem 0 .8rem; font-size: .9rem; } dl div { display: grid; grid-template-columns: 12rem minmax(0, 1fr);
  column-gap: 1rem; } dt { color: var(--dim); } dd { margin: 0; }
.hops pre .name { color: var(--accent); }
.chain { padding-left: 1.3rem; margin: 0 0 .6rem; } .chain > li + li, .remedies > li + li { margin-top: .6rem; }
.chain .badge { white-space: normal; border-radius: 9px; }
.chain ul { font-size: .92rem; margin-top: .2rem; } del, ins { text-decoration: none; } del { color: var(--bad); }
ins { color: var(--good); }
figure { margin: .6rem 0; } figcaption { color: var(--dim); font-size: .86rem; } .ln { color: var(--dim);
  display: inline-block; min-width: 2.5em; text-align: right; margin-right: .5em; user-select: none; }
@media screen and (max-width: 46rem) {
  main { padding-top: 1rem; } section { padding: .9rem .9rem; }
  .lane { grid-template-columns: minmax(0, 1fr); } .lane > b { text-align: left; } .lane > b:empty { display: none; }
  .lane .key, .lane .events { grid-column: 1; }
  dl div { grid-template-columns: minmax(0, 1fr); } dd { margin-bottom: .35rem; }
  .plain thead { display: none; } .plain tr, .plain tbody, .plain { display: block; }
  .plain th, .plain td { display: block; width: auto; border-top: 0; padding: .1rem 0; }
  .plain tr { padding: .4rem 0; border-top: 1px solid var(--line); }
  .plain td:not(:empty)::before { content: attr(data-head) ": "; color: var(--dim); }
}
@media screen and (max-width: 46rem) { DOWN.path }
@media screen and (max-width: 76rem) { DOWN.path.long }
DOWN.path.longest
@media screen and (max-width: 44rem) { WIDE.few }
@media screen and (max-width: 60rem) { WIDE.some }
@media screen and (max-width: 80rem) { WIDE.many }
WIDE.blocks
@media print {
  :root { --page: #fff; --card: #fff; --ink: #000; --dim: #444; --line: #bbb; --soft: #f4f4f4; --accent: #000;
    --bad: #a11; --bad-soft: #fbe9e8; --warning: #740; --warning-soft: #fff; --good: #151; --good-soft: #fff;
    --altered: #638; --altered-soft: #f6effb; --mark: #fe9; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  html { font-size: 11.5px; } body { font-size: 11px; } .shake { fill: #ddd; background: #ddd; }
  main { max-width: none; padding: 0; } nav, .filters, .skip { display: none !important; }
  section { border: 0; border-top: 1px solid var(--line); border-radius: 0; padding: .8rem 0; }
  .verdict { border-left: 5px solid var(--bad); padding-left: .8rem; }
  tr, .lane, .path, figure, .finding { break-inside: avoid; } h2, h3, h4 { break-after: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""

# Where the page is too narrow for columns, each header is a block with one line per hop.
_BLOCKS = """
SEL, SEL tbody, SEL tr, SEL th, SEL td { display: block; width: auto; }
SEL thead { display: none; } SEL tr { padding: .6rem 0; border-top: 1px solid var(--line); }
SEL th, SEL td, SEL th:first-child { border: 0; padding: .15rem .5rem; width: auto; }
SEL td::before { content: attr(data-head); display: inline-block; min-width: 5rem; margin-right: .6rem;
  color: var(--dim); font-size: .84rem; }
SEL .group { padding: 0; } SEL td .word ~ code { display: inline; }
"""
# Where the path has no room to stand across, it stands upright.
_UPRIGHT = """
SEL { flex-direction: column; align-items: stretch; }
SEL .hop { flex-direction: row; flex-wrap: wrap; justify-content: flex-start; align-items: baseline; gap: 0 .8rem; }
SEL .way { flex: none; min-height: 2.2rem; justify-content: flex-start; padding: .45rem 0 .45rem 1.9rem; }
SEL .way::before { left: 1rem; right: auto; top: .2rem; bottom: .3rem; border-top: 0;
  border-left: 2px solid var(--dim); }
SEL .way::after { left: calc(1rem - 3.5px); right: auto; top: auto; bottom: .3rem; transform: rotate(135deg); }
SEL .way.dotted::before { border-left-style: dotted; }
SEL .way.guilty { flex: none; }
SEL .way.guilty::before { border-left: 3px dashed var(--bad); border-top: 0; }
"""
for _path in (".path.longest", ".path.long", ".path"):
    STYLE = STYLE.replace(f"DOWN{_path}", _UPRIGHT.replace("SEL", _path))
for _width in ("few", "some", "many", "blocks"):
    STYLE = STYLE.replace(f"WIDE.{_width}", _BLOCKS.replace("SEL", f".matrix.{_width}"))

SYMBOLS = Html("""<svg class="sprite" aria-hidden="true">
<symbol id="i-present" viewBox="0 0 16 16"><path d="M2.5 8.5l3.5 4 7.5-9"/></symbol>
<symbol id="i-absent" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6.7"/><path d="M5.3 5.3l5.4 5.4m0-5.4l-5.4 5.4"/>
</symbol>
<symbol id="i-bad" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6.7"/><path d="M5.3 5.3l5.4 5.4m0-5.4l-5.4 5.4"/>
</symbol>
<symbol id="i-altered" viewBox="0 0 16 16"><path d="M8 .9L15.1 8 8 15.1.9 8z" stroke-width="1.7"/>
<path d="M5.2 6.8h5.6m-5.6 2.6h5.6M9.2 5L6.8 11.2" stroke-width="1.3"/></symbol>
<symbol id="i-uncompared" viewBox="0 0 16 16"><rect x="1.5" y="1.5" width="13" height="13" rx="2"/>
<path d="M6 6.2a2 2 0 1 1 2.6 1.9c-.4.2-.6.4-.6.9m0 2.3v.1" stroke-width="1.6"/></symbol>
<symbol id="i-unobserved" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6" stroke-dasharray="1 3.2"/></symbol>
<symbol id="i-warning" viewBox="0 0 16 16"><path d="M8 1.6l6.7 12.2H1.3z"/><path d="M8 6v3.4m0 2v.1"/></symbol>
<symbol id="i-note" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6.7"/><path d="M8 7.4v4M8 4.6v.1"/></symbol>
<g id="m-frame"><rect x="-5" y="-5" width="10" height="10" fill="currentColor"/></g>
<g id="m-ping"><path d="M0-5L5 4H-5z" fill="currentColor"/></g>
<g id="m-pong"><circle r="4" /></g>
<g id="m-both"><path d="M0-5.5L5.5 0 0 5.5-5.5 0z" fill="currentColor"/></g>
<g id="m-eof"><path d="M0-7V7" stroke-width="3"/></g>
<g id="m-reset"><path d="M-5-5L5 5M5-5L-5 5" stroke-width="3"/></g>
<g id="m-timeout"><path d="M0-7L7 0 0 7-7 0z"/><path d="M0-3V0H2.5" stroke-width="1.5"/></g>
</svg>""")
