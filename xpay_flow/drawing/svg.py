"""How is an SVG put together? Elements as text, and one style sheet for light and dark.

Text cannot be measured without a browser, so widths are computed for a monospaced font.
"""

from __future__ import annotations

from collections.abc import Iterable

# Wide enough for the common monospaced fonts (DejaVu Sans Mono has 0.602 em).
MONO_EM = 0.61
CODE_PX, FINE_PX = 11.5, 10.5

# Prefixed, since a page may hold the picture in its own markup. Colours pass WCAG AA on `paper`.
STYLE = """
.xf{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;fill:var(--xf-ink);
--xf-paper:#fff;--xf-ink:#1a1d29;--xf-quiet:#565d72;--xf-line:#c3c8d6;--xf-box:#f3f4f8;
--xf-good:#12683c;--xf-good-box:#e2f5ea;--xf-bad:#a81c2c;--xf-bad-box:#fdecee;
--xf-warn:#7a4a00;--xf-warn-box:#fff0d6;--xf-now:#3d45c4;--xf-on-now:#fff}
@media (prefers-color-scheme:dark){.xf{--xf-paper:#1c1f2b;--xf-ink:#eceef6;--xf-quiet:#a9b0c5;
--xf-line:#454c62;--xf-box:#262a39;--xf-good:#7fdba6;--xf-good-box:#143524;--xf-bad:#ffa3ac;
--xf-bad-box:#40191e;--xf-warn:#f5c777;--xf-warn-box:#40300f;--xf-now:#a9b0ff;--xf-on-now:#14173d}}
.xf text{stroke:none}
.xf .xf-paper{fill:var(--xf-paper);stroke:none}
.xf .xf-head{font-size:17px;font-weight:650}
.xf .xf-strong{font-weight:650}
.xf .xf-small{font-size:11.5px}
.xf .xf-quiet{fill:var(--xf-quiet)}
.xf .xf-code{font:11.5px ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}
.xf .xf-fine{font-size:10.5px}
.xf .xf-middle{text-anchor:middle}
.xf .xf-end{text-anchor:end}
.xf .xf-over{paint-order:stroke;stroke:var(--xf-paper);stroke-width:5px;stroke-linejoin:round}
.xf .xf-box{fill:var(--xf-box);stroke:var(--xf-line)}
.xf .xf-line{fill:none;stroke:var(--xf-line);stroke-width:1.5}
.xf .xf-life{fill:none;stroke:var(--xf-line);stroke-dasharray:3 4}
.xf .xf-rule{fill:none;stroke:var(--xf-line);stroke-opacity:.55}
.xf .xf-arrow{fill:none;stroke:var(--xf-quiet);stroke-width:1.6}
.xf .xf-answer{stroke-dasharray:6 4}
.xf .xf-tip{fill:var(--xf-quiet);stroke:none}
.xf .xf-mark{fill:none;stroke-width:2;stroke-linecap:round;stroke-linejoin:round}
.xf .xf-good{--xf-tone:var(--xf-good);--xf-tone-box:var(--xf-good-box)}
.xf .xf-bad{--xf-tone:var(--xf-bad);--xf-tone-box:var(--xf-bad-box)}
.xf .xf-warn{--xf-tone:var(--xf-warn);--xf-tone-box:var(--xf-warn-box)}
.xf .xf-plain{--xf-tone:var(--xf-quiet);--xf-tone-box:var(--xf-box)}
.xf .xf-now{--xf-tone:var(--xf-now)}
.xf .xf-tone{fill:var(--xf-tone)}
.xf .xf-tone-box{fill:var(--xf-tone-box);stroke:var(--xf-tone);stroke-width:1.5}
.xf .xf-tone-line{stroke:var(--xf-tone)}
.xf .xf-apart{stroke-dasharray:4 3}
.xf .xf-tag{fill:var(--xf-now)}
.xf .xf-on-tag{fill:var(--xf-on-now);font-size:11px;font-weight:650}
""".replace("\n", "")


def tag(name: str, content: str = "", /, **attributes: object) -> str:
    """An element. `class_` and `stroke_width` become `class` and `stroke-width`.

    Numbers are rounded; strings must be escaped already.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_written(value)}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def _written(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def path(points: str, classes: str) -> str:
    return tag("path", d=points, class_=classes)


def code_width(chars: int, px: float = CODE_PX) -> float:
    """How wide a line of code is, in pixels."""
    return chars * px * MONO_EM


def document(
    kind: str, title: str, description: str, size: tuple[float, float], parts: Iterable[str]
) -> str:
    """A whole SVG, named for screen readers. `title` and `description` are escaped."""
    width, height = size
    names = f"xf-{kind}-title xf-{kind}-desc"
    content = [
        tag("title", title, id=f"xf-{kind}-title"),
        tag("desc", description, id=f"xf-{kind}-desc"),
        tag("style", STYLE),
        tag("rect", width=width, height=height, rx=12, class_="xf-paper"),
        *parts,
    ]
    return tag(
        "svg",
        "\n".join(content),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:.6g} {height:.6g}",
        width=width,
        height=height,
        role="img",
        aria_labelledby=names,
        class_="xf",
    )
