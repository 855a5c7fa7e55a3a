// The accessibility faults of a page that need no library; returns sentences, best is none.
() => {
  const faults = [];
  const seen = (e) => e.checkVisibility({ visibilityProperty: true });
  const name = (e) => (e.getAttribute("aria-label") || [...(e.labels || [])].map((l) => l.textContent).join(" ")
    || e.textContent || e.getAttribute("title") || "").trim();
  const all = (selector) => [...document.querySelectorAll(selector)].filter(seen);

  if (!document.documentElement.lang) faults.push("the page has no language");
  if (!document.title.trim()) faults.push("the page has no title");
  for (const e of all("input:not([type=hidden]), select, textarea, button, a[href]"))
    if (!name(e)) faults.push(`${e.outerHTML.slice(0, 80)} has no name`);
  for (const e of all("svg, img"))
    if (e.getAttribute("aria-hidden") !== "true" && !e.getAttribute("aria-labelledby") && !e.getAttribute("alt"))
      faults.push(`a picture is neither named nor hidden: ${e.outerHTML.slice(0, 60)}`);
  for (const e of all("[aria-labelledby]"))
    for (const id of e.getAttribute("aria-labelledby").split(" "))
      if (!document.getElementById(id)) faults.push(`nothing has the id ${id}`);
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of ids.filter((id, i) => ids.indexOf(id) !== i)) faults.push(`two elements have the id ${id}`);
  if (all("main").length !== 1) faults.push("there must be one main part");

  const levels = all("h1, h2, h3, h4").map((h) => Number(h.tagName[1]));
  if (levels.filter((l) => l === 1).length !== 1 || levels[0] !== 1) faults.push(`headings are ${levels}`);
  levels.forEach((l, i) => { if (i && l > levels[i - 1] + 1) faults.push(`a heading is left out: ${levels}`); });

  const rgb = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const over = (top, under) => { const a = top[3] ?? 1; return [0, 1, 2].map((i) => top[i] * a + under[i] * (1 - a)); };
  const behind = (e) => {
    if (!e) return rgb(getComputedStyle(document.documentElement).colorScheme.includes("dark") && matchMedia("(prefers-color-scheme: dark)").matches ? "rgb(18,18,18)" : "rgb(255,255,255)");
    const own = rgb(getComputedStyle(e).backgroundColor);
    return own[3] === 0 ? behind(e.parentElement) : over(own, own[3] === undefined ? own : behind(e.parentElement));
  };
  const light = (c) => {
    const [r, g, b] = c.map((v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const e = words.currentNode.parentElement;
    if (!words.currentNode.data.trim() || !seen(e) || ["STYLE", "SCRIPT", "NOSCRIPT", "OPTION", "title", "desc", "style"].includes(e.tagName)) continue;
    const style = getComputedStyle(e), svg = e.closest("svg");
    const under = behind(svg ? svg.parentElement : e);
    if (svg && e.closest(".xf-on-tag")) continue;
    const [a, b] = [light(over(rgb(svg ? style.fill : style.color), under)), light(under)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) faults.push(`contrast ${ratio.toFixed(2)} of "${words.currentNode.data.trim().slice(0, 30)}"`);
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push(`the page is ${document.documentElement.scrollWidth} px wide in a window of ${innerWidth}`);
  return faults;
}
