"""Turns text from engines, visitors and files into harmless HTML: no tag, script, picture or template takes effect."""

from __future__ import annotations

from html import escape

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

# Raw HTML is shown as text. Pictures are disabled: the browser would fetch them from any host named in an answer
_MARKDOWN = MarkdownIt("js-default", {"html": False, "linkify": False}).disable("image")
# Gradio treats HTML as a template
_TEMPLATE = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;", "`": "&#96;"})


def escape_html(text: str) -> str:
    """Escapes text so that it is shown literally."""
    return escape(text).translate(_TEMPLATE)


def one_line(text: str, most: int) -> str:
    """Returns the text on one line, shortened to `most` characters; not escaped."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def render_markdown(text: str) -> str:
    """Renders Markdown with tables and code. Links open in a new tab and send no referrer."""
    return str(_MARKDOWN.render(text)).translate(_TEMPLATE)


def _link(renderer: RendererHTML, tokens: list[Token], index: int, options: object, env: object) -> str:
    tokens[index].attrs |= {"target": "_blank", "rel": "noopener noreferrer nofollow"}
    return renderer.renderToken(tokens, index, options, env)  # type: ignore[arg-type]


def _fence(_: RendererHTML, tokens: list[Token], index: int, *__: object) -> str:
    token = tokens[index]
    language = token.info.split()[0] if token.info.split() else "code"
    return (
        f'<figure class="code"><figcaption>{escape(language)}<button type="button" data-copy="code">Copy</button>'
        f'</figcaption><pre tabindex="0"><code>{escape(token.content)}</code></pre></figure>'
    )


_MARKDOWN.add_render_rule("link_open", _link)
_MARKDOWN.add_render_rule("fence", _fence)
