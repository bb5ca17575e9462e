"""How the page looks: by day, by night, on a phone and on paper."""

CSS = """
:root { color-scheme: light dark; --back: #f8fafc; --card: #fff; --ink: #1f2937; --dim: #4b5563; --line: #d1d5db;
  --claim: #0072b2; --strong: #e8f3fa; --cut: #fef3c7; --cut-ink: #78350f; }
@media (prefers-color-scheme: dark) { :root { --back: #111827; --card: #1f2937; --ink: #e5e7eb; --dim: #9ca3af;
  --line: #374151; --claim: #7cc4f0; --strong: #1e3a52; --cut: #451a03; --cut-ink: #fde68a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1140px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { margin: 4px 0 12px; font-size: clamp(1.4rem, 4.2vw, 2.1rem); line-height: 1.2; text-wrap: balance; }
h2 { margin: 36px 0 10px; font-size: 1.2rem; }
h3 { margin: 20px 0 6px; font-size: 1rem; }
p { margin: 0 0 8px; max-width: 75ch; overflow-wrap: anywhere; }
header { border-left: 5px solid var(--claim); padding-left: 16px; }
.origin, .reason, .note, figcaption { color: var(--dim); font-size: .9rem; }
.evidence { font-size: 1.1rem; }
.cut { background: var(--cut); color: var(--cut-ink); padding: 8px 12px; border-radius: 6px; font-weight: 600; }
.note { margin-top: 6px; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 9px; text-align: left; vertical-align: top; }
th { color: var(--dim); font-weight: 600; vertical-align: bottom; }
td { border-top: 1px solid var(--line); overflow-wrap: break-word; }
.prose { min-width: 19ch; }
.n { text-align: right; white-space: nowrap; }
th.n { white-space: normal; }
.strong td { background: var(--strong); font-weight: 600; }
.plots { columns: 2 420px; column-gap: 16px; margin-top: 36px; }
figure { margin: 0 0 16px; break-inside: avoid;
  padding: 12px; background: #fff; border: 1px solid var(--line); border-radius: 8px; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { color: #4b5563; margin-top: 6px; }
details { margin-top: 24px; }
summary { cursor: pointer; font-weight: 600; padding: 6px 0; }
details .scroll { max-height: 80vh; overflow: auto; }
@media print {
  :root { color-scheme: light; --back: #fff; --card: #fff; --ink: #000; --dim: #333; --line: #bbb; --strong: #eee; }
  body { font-size: 11px; } main { max-width: none; padding: 0; } .scroll { overflow: visible; border: 0; }
  th, td { padding: 3px 6px; } figure, tr, header { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .plots { columns: 2; } details:not([open]) { display: none; }
  details .scroll { max-height: none; }
}
"""
