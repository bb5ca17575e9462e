"""Reports of a result: for a terminal, as Markdown, and as one HTML page. They need only the result, no engine."""
