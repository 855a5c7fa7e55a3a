// Coming back from the checkout proves nothing, so ask the shop's server.

/** Open the checkout in this tab; browsers block new ones. */
export function goToCheckout(url) {
  if (!/^https?:/.test(new URL(url, document.baseURI))) throw new TypeError("not a web address");
  location.assign(url);
}

/** Begin to pay for an order, whose price the server knows; goes to the checkout in this tab. */
export async function pay({ order, checkoutUrl, headers }) {
  const reply = await fetch(checkoutUrl, {
    method: "POST", headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(order),
  });
  const data = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Error(data.error ?? reply.status);
  goToCheckout(data.fwdUrl);
  return data.xIntentId;
}

const rest = (ms, signal) => new Promise((resolve, reject) => {
  setTimeout(resolve, ms);
  signal?.addEventListener("abort", () => reject(signal.reason));
});

// One question. The server may take its time; a dead connection is cut.
async function ask(url, cutMs, signal) {
  const cut = new AbortController();
  const stop = () => cut.abort();
  setTimeout(stop, cutMs);
  signal?.addEventListener("abort", stop);
  const reply = await fetch(url, { cache: "no-store", signal: cut.signal });
  const data = await reply.json();
  if (/^(SUCCESS|FAILED|PENDING)$/.test(data.status)) return data;
}

/**
 * Resolves to "success", "failed", or "waiting" when time is up; rejects only if aborted.
 * FAILED must stand for settleMs: the customer may have paid right after it.
 */
export async function watch({
  intentId, statusUrl, onStatus, giveUpAfterMs = 3e5, settleMs = 8000, waitMs = 20000, signal,
}) {
  const url = new URL(statusUrl, document.baseURI);
  url.searchParams.set("xpay_intent_id", intentId);
  let seen, sinceMs = 0, awakeMs = 0, quick = 0;
  for (;;) {
    const leftMs = seen === "FAILED" ? sinceMs + settleMs - awakeMs : waitMs;
    url.searchParams.set("wait", Math.ceil(Math.max(0, Math.min(waitMs, leftMs)) / 1000));
    const began = Date.now();
    const data = await ask(url, waitMs + 9000, signal).catch(() => {});
    signal?.throwIfAborted();
    const tookMs = Math.min(Date.now() - began, waitMs); // sleep is not waiting
    awakeMs += tookMs;
    quick = data && tookMs > 1000 ? 0 : quick + 1;
    if (data && data.status !== seen) {
      url.searchParams.set("seen", seen = data.status);
      sinceMs = awakeMs;
      onStatus?.(seen);
    }
    if (seen === "SUCCESS") return "success";
    if (data?.final || (data && seen === "FAILED" && awakeMs - sinceMs >= settleMs)) return "failed";
    if (awakeMs > giveUpAfterMs) return "waiting";
    const restMs = Math.min(15000, 250 * 2 ** quick) * (0.5 + Math.random());
    await rest(restMs, signal);
    awakeMs += restMs;
  }
}

// The return page has a part for each outcome.
const page = document.querySelector("[data-xpay-intent]");

function show(outcome) {
  for (const part of page.querySelectorAll("[data-outcome]")) {
    const isNew = part.hidden;
    part.hidden = part.dataset.outcome !== outcome;
    if (part.hidden) continue;
    if (isNew) part.querySelector("h1")?.focus();
    if (part.dataset.next) location.replace(part.dataset.next);
  }
}

async function attend({ xpayIntent: intentId, statusUrl }) {
  const outcome = await watch({ intentId, statusUrl });
  show(outcome);
  if (outcome !== "failed") return;
  const later = await watch({ intentId, statusUrl, settleMs: Infinity });
  if (later === "success") show(later);
}

if (page?.dataset.xpayIntent) attend(page.dataset);
