"""The reports that lie beside a result, made from nothing but the result."""

from __future__ import annotations

from collections.abc import Mapping

from bench.report import markdown
from bench.report.html_page import html_report
from bench.report.labels import KINDS
from bench.report.result_fields import Fields
from config.errors import ConfigError

SCHEMA = 1  # the newest that this report can read


def render_reports(result: Fields) -> Mapping[str, str]:
    """File name to content. Raises ConfigError for a result that this version does not know."""
    kind, schema = result.get("kind"), result.get("schema", SCHEMA)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"the result is of kind {kind!r}: a report can be made of {', '.join(KINDS)}")
    if schema != SCHEMA:
        raise ConfigError(
            f"the result has schema {schema!r}, this version reads {SCHEMA}: use the version that wrote it"
        )
    return {"report.md": markdown.markdown_report(result), "report.html": html_report(result)}
