"""The benchmark's tab as HTML: the run's lines, the list of results, and a report in a frame that can do nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from frontend.bench_runs import BenchRun
from frontend.results_list import ResultSummary
from frontend.sanitize import escape_html

STEP = re.compile(r"^(\d+)/(\d+) ")
STATES = {None: "running", 0: "done", 130: "cancelled"}  # by exit code


def progress(study: BenchRun | None) -> str:
    """The lines so far, under a bar that says how many documents are through."""
    if study is None:
        return '<p class="quiet">No run of this page yet.</p>'
    done, of = _steps(study.lines)
    share = 100 * done / of if of else 0
    state = STATES.get(study.code, f"ended with exit code {study.code}")
    lines = escape_html("\n".join(study.lines[-40:]))
    return (
        f'<section class="study" data-state="{"running" if study.code is None else "ended"}" aria-label="Run">'
        f'<p role="status"><b>bench {study.kind}</b>: {state} · <code>{escape_html(study.folder.name)}</code></p>'
        f'<div class="meter" role="meter" aria-label="Documents measured" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{share:.0f}"><span style="width:{share:.0f}%"></span></div>'
        f'<pre tabindex="0" aria-label="What the bench says">{lines}</pre></section>'
    )


def _steps(lines: Sequence[str]) -> tuple[int, int]:
    """The last `n/m` that the bench has said."""
    found = next((match for line in reversed(lines) if (match := STEP.match(line))), None)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def results_table(results: Sequence[ResultSummary]) -> str:
    """What earlier runs found."""
    if not results:
        return '<p class="quiet">No results yet.</p>'
    rows = "".join(
        f"<tr><td>{escape_html(each.name)}</td><td>{escape_html(each.kind)}</td>"
        f"<td>{escape_html(each.date[:16].replace('T', ' '))}</td>"
        f"<td>{each.completed:,}</td><td>{escape_html(each.verdict) if each.complete else 'not complete'}</td></tr>"
        for each in results[:50]
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("result", "kind", "date", "samples", "verdict"))
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Results"><table class="history"><thead><tr>{head}'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def framed(report: str) -> str:
    """Scripts, forms and foreign addresses of a report's HTML have no effect in there."""
    return f'<iframe class="report" sandbox="" title="Report" srcdoc="{escape(report)}"></iframe>'
