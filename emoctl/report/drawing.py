"""An altair chart → a picture, or a page that needs no network. Knows no chart."""

import re
from typing import Any

PALETTE = ("#b5312c", "#2b6ca3", "#3c8d4f", "#8a5aa8", "#c27c1a", "#4b4f56", "#16858a", "#a3476f")
GREY = "#9aa0a6"
OFFLINE = {
    "embedOptions": {
        "actions": {"export": True, "source": False, "compiled": False, "editor": False}
    }
}
"""The page's menu saves pictures; it opens no web site."""

LESS_THAN = "\ue000"
"""Stands for `<` until the page is made, where the specification lies inside a script: a name that
holds `</script>` must not end it. No inert text holds this character."""


def png_of(chart: Any, scale: float = 2) -> bytes:
    """The chart as a PNG file."""
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(chart.to_json(), scale=scale))


def page_of(chart: Any) -> str:
    """The chart as one HTML file that fetches nothing."""
    import vl_convert

    html = vl_convert.vegalite_to_html(chart.to_json().replace("<", LESS_THAN), bundle=True)
    return _closed(html.replace(LESS_THAN, r"\u003c"))


def _closed(html: str) -> str:
    """The page with a policy that forbids every request, should anything try one."""
    policy = (
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:\">"
    )
    return re.sub(r"<head>", lambda found: found.group() + policy, html, count=1)
