"""HTML that came out of a notebook, made harmless: known tags stay, all else is text or gone."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

__all__ = ["cleaned"]

_KEPT = frozenset(
    re.findall(
        r"\w+",
        """
        a b blockquote br caption code col colgroup dd details div dl dt em figcaption figure h1
        h2 h3 h4 h5 h6 hr i li math mfrac mi mn mo mover mpadded mphantom mrow mspace msqrt
        mstyle msub msubsup msup mtable mtd mtext mtr munder munderover ol p pre q s small span
        strong sub summary sup table tbody td tfoot th thead tr u ul var
        """,
    )
)
_VOID = frozenset(("br", "col", "hr"))
_SILENT = frozenset(("iframe", "noscript", "object", "script", "style", "svg", "template", "title"))
_ATTRIBUTES = frozenset(
    re.findall(
        r"\w+",
        """
        accent class colspan display fence form mathvariant rowspan scope stretchy title xmlns
        """,
    )
)


def cleaned(markup: str) -> str:
    """The same content without scripts, styles, pictures, events or links out of the page.

    Every tag that is opened is closed, so that no output can break the page around it.

    >>> cleaned('<p onclick="x()">5 &lt; 6<script>alert(1)</script><img src=http://x><b>!')
    '<p>5 &lt; 6<b>!</b></p>'
    """
    cleaner = _Cleaner()
    cleaner.feed(markup)
    cleaner.close()
    return cleaner.done()


class _Cleaner(HTMLParser):
    """Writes what it keeps of what it reads."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._out: list[str] = []
        self._open: list[str] = []
        self._silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent.append(tag)
        if self._silent or tag not in _KEPT:
            return
        kept = [(name, value or "") for name, value in attrs if name in _ATTRIBUTES]
        if tag == "a":
            kept += [
                ("href", v) for n, v in attrs if n == "href" and (v or "").startswith("#") and v
            ]
        shown = "".join(f' {name}="{html.escape(value)}"' for name, value in kept)
        self._out.append(f"<{tag}{shown}>")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _SILENT:
            self.handle_starttag(tag, attrs)
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._silent:
            if tag in self._silent:
                del self._silent[self._silent.index(tag) :]
            return
        if tag in self._open:
            while self._open:
                last = self._open.pop()
                self._out.append(f"</{last}>")
                if last == tag:
                    break

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._out.append(html.escape(data, quote=False))

    def done(self) -> str:
        """What was kept, with every open tag closed."""
        return "".join(self._out) + "".join(f"</{tag}>" for tag in reversed(self._open))
