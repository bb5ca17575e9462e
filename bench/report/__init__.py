"""A result as a report: for a terminal, as Markdown, and as one page. Needs the result only, no engine."""
