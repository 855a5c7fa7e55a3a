// The faults of a page that axe does not look for: its width, and the contrast of text in drawings.
() => {
  const faults = [];
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
  for (const e of document.querySelectorAll("svg text, svg tspan")) {
    if (!e.checkVisibility({ visibilityProperty: true }) || e.closest(".xf-on-tag")) continue;
    const style = getComputedStyle(e), under = behind(e.closest("svg").parentElement);
    const [a, b] = [light(over(rgb(style.fill), under)), light(under)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) faults.push(`contrast ${ratio.toFixed(2)} of "${e.textContent.trim().slice(0, 30)}"`);
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push(`the page is ${document.documentElement.scrollWidth} px wide in a window of ${innerWidth}`);
  return faults;
}
