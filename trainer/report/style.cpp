#include "trainer/report/html.h"

namespace duet::report {

// Colours c0 to c9 keep 4.5 to 1 to the background in either scheme; heat is mixed into it by opacity. One column on a
// phone, as many as fit elsewhere. On paper it is light, and no part is cut where it need not be.
std::string_view style_sheet() {
  return R"css(:root {
  color-scheme: light dark;
  --back: #ffffff; --text: #1b1f24; --quiet: #57606a; --line: #d0d7de; --soft: #f3f5f7;
  --good: #12805c; --heat: 31 111 214;
  --c0: #1f6fd6; --c1: #c2560c; --c2: #12805c; --c3: #c2255c; --c4: #7048e8;
  --c5: #0b7791; --c6: #7d6300; --c7: #b02fa0; --c8: #5f6b7a; --c9: #8d4b2c;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --back: #14181d; --text: #e6e9ed; --quiet: #a3acb7; --line: #3a424c; --soft: #1e242b;
    --good: #4fd1a1; --heat: 106 168 255;
    --c0: #6aa8ff; --c1: #ff9f57; --c2: #4fd1a1; --c3: #ff7a9e; --c4: #b79cff;
    --c5: #4dd0e8; --c6: #e0c341; --c7: #f18be6; --c8: #a9b6c6; --c9: #d69a78;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1rem; max-width: 76rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .25rem 0; }
h2 { font-size: 1.2rem; margin: 0 0 .75rem; }
h3 { font-size: 1rem; margin: 1rem 0 .25rem; }
p { margin: .25rem 0 .75rem; }
a { color: var(--c0); }
:focus-visible { outline: 3px solid var(--c1); outline-offset: 2px; }
header p, .note, footer { color: var(--quiet); }
.note, footer { font-size: .875rem; }
nav ul { list-style: none; margin: 1rem 0; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem .5rem; }
nav a { display: inline-block; padding: .25rem .6rem; border: 1px solid var(--line); border-radius: 1rem;
  text-decoration: none; }
section { border-top: 1px solid var(--line); padding: 1.25rem 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .5rem; margin: 1rem 0; }
.tiles div { background: var(--soft); border-radius: .5rem; padding: .5rem .75rem; }
.tiles dt { color: var(--quiet); font-size: .8125rem; }
.tiles dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: 1.5rem; }
.grid > figure { min-width: 0; }
.four { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(46%, 14rem), 1fr)); gap: 1rem; }
figure { margin: 0; max-width: 36rem; }
figcaption { font-weight: 600; }
svg.plot, svg.heat { display: block; width: 100%; height: auto; }
.plot text { font-size: 11px; fill: var(--quiet); }
.plot .axis { stroke: var(--quiet); fill: none; }
.plot .rule { stroke: var(--line); fill: none; }
.plot .name { fill: var(--text); font-weight: 600; paint-order: stroke; stroke: var(--back); stroke-width: 3px;
  text-anchor: middle; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.dots, .crosses { fill: none; stroke-width: 5; stroke-linecap: round; }
.crosses { stroke-width: 1.4; }
.cloud { stroke-opacity: .8; }
.s0 { stroke: var(--c0); } .s1 { stroke: var(--c1); } .s2 { stroke: var(--c2); } .s3 { stroke: var(--c3); }
.s4 { stroke: var(--c4); } .s5 { stroke: var(--c5); } .s6 { stroke: var(--c6); } .s7 { stroke: var(--c7); }
.s8 { stroke: var(--c8); } .s9 { stroke: var(--c9); } .none { stroke: var(--line); }
.line.s1 { stroke-dasharray: 6 3; } .line.s2 { stroke-dasharray: 2 2; } .line.s3 { stroke-dasharray: 9 3 2 3; }
.line.s4 { stroke-dasharray: 4 4; } .line.s5 { stroke-dasharray: 10 4; } .line.s6 { stroke-dasharray: 1 3; }
.line.s7 { stroke-dasharray: 6 2 1 2 1 2; } .line.s8 { stroke-dasharray: 3 1; } .line.s9 { stroke-dasharray: 8 8; }
.legend { list-style: none; margin: .25rem 0; padding: 0; display: flex; flex-wrap: wrap; gap: .125rem .9rem;
  font-size: .875rem; }
.legend svg { width: 28px; height: 10px; margin-right: .35rem; vertical-align: middle; }
.legend svg.point { width: 12px; margin-right: .2rem; }
.heat { border: 1px solid var(--line); }
.heat .cells { fill: rgb(var(--heat)); }
.heat .rule { stroke: var(--quiet); stroke-width: .07; stroke-opacity: .6; fill: none; }
.scroll { overflow-x: auto; max-width: 100%; margin: .5rem 0; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .2rem .5rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th { font-weight: 600; } tbody th, th:first-child, #setup th { text-align: left; }
#setup td { text-align: left; overflow-wrap: anywhere; min-width: 8rem; }
.confusion td, .confusion th { padding: .15rem .3rem; text-align: center; min-width: 1.6rem; }
.confusion td { background: rgb(var(--heat) / calc(var(--share) * .55)); }
.confusion .own { outline: 1px solid var(--quiet); outline-offset: -1px; }
.bar { display: block; height: .5rem; min-width: 4.5rem; background: var(--soft); border-radius: .25rem; }
.bar i { display: block; height: 100%; width: calc(var(--share) * 100%); background: var(--c0); border-radius: .25rem; }
.bar.v i { background: var(--c1); }
.examples { list-style: none; margin: 0 0 1rem; padding: 0; display: grid; gap: .75rem; }
.examples > li { display: flex; flex-wrap: wrap; gap: .4rem; align-items: stretch; }
.item { border: 2px solid var(--line); border-radius: .4rem; padding: .25rem .4rem; font-size: .8125rem;
  min-width: 4.4rem; max-width: 11rem; }
.item img { display: block; width: 48px; height: 48px; image-rendering: pixelated; }
.item.query { background: var(--soft); border-style: dashed; }
.item.right { border-color: var(--good); }
.item span { display: block; }
.item .quiet { color: var(--quiet); }
.item.right .mark { color: var(--good); font-weight: 600; }
details { margin: .5rem 0; }
summary { cursor: pointer; color: var(--quiet); font-size: .875rem; }
@media (max-width: 30rem) {
  th, td { padding: .2rem .3rem; }
}
@media print {
  :root { color-scheme: light; }
  body { max-width: none; padding: 0; font-size: 10pt; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  nav, details:not([open]) { display: none; }
  figure, .item, tr { break-inside: avoid; }
  .scroll { overflow: visible; }
}
)css";
}

}  // namespace duet::report
