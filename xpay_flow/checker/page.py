"""How is a page put together that needs nothing but itself? Elements as text, and a style sheet."""

from __future__ import annotations

from html import escape
from typing import NewType

# What is escaped already, or was written here.
Html = NewType("Html", str)

STYLE = """
:root{color-scheme:light dark;--page:#f4f5f9;--card:#fff;--ink:#1a1d29;--soft:#565d72;
--line:#dde0ea;--inset:#f3f4f8;--accent:#3d45c4;--good:#12683c;--good-bg:#e2f5ea;--bad:#a81c2c;--bad-bg:#fdecee;
--warn:#7a4a00;--warn-bg:#fff0d6;--t0:#4649c9;--t1:#0b766c;--t2:#8b2fb8;--t3:#0a68a8;--t4:#587210;
--t5:#55607a;--shadow:0 1px 2px rgb(20 24 50/6%),0 8px 24px rgb(20 24 50/6%)}
@media (prefers-color-scheme:dark){:root{--page:#12141c;--card:#1c1f2b;--ink:#eceef6;--soft:#a9b0c5;
--line:#343a4c;--inset:#262a39;--accent:#a9b0ff;--good:#7fdba6;--good-bg:#143524;--bad:#ffa3ac;
--bad-bg:#40191e;--warn:#f5c777;--warn-bg:#40300f;--t0:#aab0ff;--t1:#6fdccd;--t2:#dba6f7;
--t3:#86c8ff;--t4:#c3df72;--t5:#b6bfd4;--shadow:none}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 system-ui,-apple-system,
"Segoe UI",Roboto,"Noto Sans",sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1180px;margin:0 auto;padding:28px 20px 56px}
h1{font-size:clamp(1.5rem,1.15rem + 1.7vw,2.25rem);line-height:1.18;letter-spacing:-.02em;
margin:14px 0 8px;text-wrap:balance}
h2{font-size:1.2rem;letter-spacing:-.01em;margin:0 0 4px}
h3{font-size:.95rem;margin:0}
p{margin:0 0 8px;max-width:92ch}
ul,ol{margin:0;padding:0;list-style:none}
code,pre,.mono{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;
font-size:.88em}
code{overflow-wrap:anywhere}
.soft{color:var(--soft)}
.card{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:22px 24px;
margin-top:18px;box-shadow:var(--shadow)}
.hero{border-top:5px solid var(--tone)}
.good{--tone:var(--good);--tone-bg:var(--good-bg)}
.bad{--tone:var(--bad);--tone-bg:var(--bad-bg)}
.warn{--tone:var(--warn);--tone-bg:var(--warn-bg)}
.plain{--tone:var(--soft);--tone-bg:var(--inset)}
.pill{display:inline-block;border-radius:99px;padding:2px 11px;font-weight:650;font-size:.8rem;
background:var(--tone-bg);color:var(--tone);white-space:nowrap}
.hero .pill{font-size:.9rem;letter-spacing:.05em;padding:4px 14px}
.lead{font-size:1.08rem}
.chips{display:flex;flex-wrap:wrap;gap:6px 8px;margin-top:10px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(128px,1fr));gap:10px;
margin-top:16px}
.tile{background:var(--inset);border-radius:10px;padding:10px 14px}
.tile b{display:block;font-size:1.35rem;letter-spacing:-.01em;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:.82rem}
.scroll{overflow-x:auto;margin:14px -24px 0;padding:0 24px 4px}
.scroll:focus-visible,summary:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.scroll svg{display:block;margin:0 auto}
.swipe{display:none;margin:10px 0 0}
.steps{margin-top:12px}
.steps li{display:grid;grid-template-columns:34px minmax(120px,215px) 1fr auto;gap:2px 14px;
align-items:baseline;padding:6px 10px 6px 6px;border-top:1px solid var(--line)}
.steps li:first-child{border-top:0}
.steps .n{color:var(--soft);text-align:right;font-variant-numeric:tabular-nums;font-size:.85rem}
.steps .who{font-weight:600;color:var(--own,var(--ink))}
.steps .where{font-size:.78em;color:var(--soft);text-align:right}
.steps .fault{background:var(--bad-bg);border-radius:8px;border-top-color:transparent}
.steps .fault+li{border-top-color:transparent}
.note{display:block;font-size:.88rem;font-weight:600;color:var(--tone)}
.writes{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:14px;
margin-top:14px}
.write{border:1px solid var(--line);border-radius:10px;padding:12px 14px;min-width:0}
.write.fault{border-color:var(--bad)}
table{border-collapse:collapse;width:100%;margin-top:8px;font-size:.9rem}
th{text-align:left;font-weight:600;color:var(--soft);font-size:.8rem}
th,td{padding:5px 8px 5px 0;border-bottom:1px solid var(--line);vertical-align:top;
overflow-wrap:anywhere}
tr:last-child td{border-bottom:0}
.diff td{width:30%}.diff td:first-child{width:40%}
.was{color:var(--soft)}
.diff .now{font-weight:600;color:var(--good)}
.diff .lost td{color:var(--bad);font-weight:600}
.figures td,.figures th{text-align:right;font-variant-numeric:tabular-nums}
.figures td:first-child,.figures th:first-child,.figures td:nth-child(2),
.figures th:nth-child(2){text-align:left}
.figures tfoot td{font-weight:650;border-top:2px solid var(--line)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,310px),1fr));gap:22px;
margin-top:16px}
.charts svg{display:block;width:100%;height:auto;max-width:460px}
.legend{display:flex;flex-wrap:wrap;gap:4px 14px;margin-top:12px;font-size:.85rem;
color:var(--soft)}
.legend i{display:inline-block;width:11px;height:11px;border-radius:3px;background:var(--own);
margin-right:6px}
.scenes{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,300px),1fr));gap:14px;
margin-top:14px}
.scene{background:var(--inset);border-radius:10px;padding:12px 14px}
.scene .pill{background:var(--card)}
.scene ul,.list{list-style:disc;padding-left:18px}
.scene ul{font-size:.9rem}
.list li{margin:4px 0;max-width:80ch}
.promises li{display:grid;grid-template-columns:96px 1fr;gap:12px;padding:7px 0;
border-top:1px solid var(--line)}
.promises li:first-child{border-top:0}.promises .pill{justify-self:start;align-self:start}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));
gap:0 18px}
details{margin-top:12px}
summary{cursor:pointer;color:var(--accent);font-weight:600}
pre{overflow-x:auto;background:var(--inset);border-radius:10px;padding:12px 14px;margin:10px 0 0;
line-height:1.5}
footer{color:var(--soft);font-size:.85rem;margin-top:22px;text-align:center}
@media (max-width:1130px){.swipe{display:block}}
@media (max-width:720px){
main{padding:14px 12px 40px}.card{padding:18px 16px}.scroll{margin:12px -16px 0;padding:0 16px 4px}
.steps li{grid-template-columns:28px 1fr;padding-left:0}
.steps .what,.steps .where{grid-column:2;text-align:left}
.promises li{grid-template-columns:1fr;gap:2px}
.figures thead{display:none}
.figures tr{display:block;border-top:1px solid var(--line);padding:8px 0}
.figures td,.figures td:first-child,.figures td:nth-child(2){display:flex;
justify-content:space-between;gap:12px;border:0;padding:2px 0;text-align:right}
.figures td::before{content:attr(data-label);color:var(--soft);font-weight:400}
.figures tfoot td{border:0}}
@media print{body{background:#fff}.card{box-shadow:none;break-inside:avoid}}
""".replace("\n", "")


def text(value: object) -> Html:
    """Anything, escaped."""
    return Html(escape(str(value)))


def el(name: str, *content: Html, **attributes: object) -> Html:
    """An element with a closing tag. `class_` and `data_label` become `class` and `data-label`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value != ""
    )
    return Html(f"<{name}{written}>{''.join(content)}</{name}>")


def card(title: str, lead: str, *content: Html) -> Html:
    """One part of the page."""
    intro = (el("p", text(lead), class_="soft"),) if lead else ()
    return el("section", el("h2", text(title)), *intro, *content, class_="card")


def pill(word: str, tone: str) -> Html:
    return el("span", text(word), class_=f"pill {tone}")


def bullets(lines: list[str] | tuple[str, ...]) -> Html:
    return el("ul", *(el("li", text(line)) for line in lines), class_="list")


def page(title: str, *content: Html) -> str:
    """A whole page that loads nothing else."""
    head = Html(
        '<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Nothing from elsewhere, and no script at all, whatever a text may hold.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    body = el("body", el("main", *content))
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n{body}</html>\n'
