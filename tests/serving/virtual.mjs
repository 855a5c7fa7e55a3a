// Runs xpay-flow.js against a scripted server, in a time that passes only when everybody waits.
// Reads a scenario as JSON from standard input and prints what happened as JSON.

import { readFileSync } from "node:fs";

const scenario = JSON.parse(readFileSync(0, "utf8"));
let now = 0;
let timers = [];
const requests = [];
const heard = [];
const went = [];

globalThis.document = { baseURI: "https://shop.test/xpay/return", querySelector: () => null };
globalThis.location = { assign: (url) => went.push(url) };
Date.now = () => now;
Math.random = () => 0.5;
globalThis.setTimeout = (act, ms) => { timers.push({ at: now + ms, act }); };

// Each step of the script: {after: ms, status, final}, {after, html: true}, {after, broken: true},
// {hang: true}, {sleep: ms} or {hold: status}, which like our server answers at once unless seen.
// The last step is repeated.
globalThis.fetch = (url, { signal }) => new Promise((resolve, reject) => {
  const query = Object.fromEntries(url.searchParams);
  const step = scenario.script[Math.min(requests.length, scenario.script.length - 1)];
  requests.push({ at: now, path: url.pathname, ...query });
  signal.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
  if (step.hang) return;
  if (step.sleep) now += step.sleep;
  const held = step.hold && (query.seen === step.hold || step.hold === "PENDING");
  const ms = held ? Number(query.wait) * 1000 : (step.after ?? 0);
  const status = step.hold ?? step.status;
  setTimeout(() => {
    if (step.broken || step.sleep) return reject(new TypeError("network"));
    const body = step.html ? "<html>" : JSON.stringify({ status, final: step.final ?? status === "SUCCESS" });
    resolve({ json: async () => JSON.parse(body) });
  }, ms);
});

const { watch, goToCheckout } = await import(process.argv[2]);

function act() {
  if (scenario.goTo !== undefined) return Promise.resolve(goToCheckout(scenario.goTo));
  const stop = new AbortController();
  if (scenario.abortAt) setTimeout(() => stop.abort(new Error("left")), scenario.abortAt);
  return watch({
    intentId: "in_1 &", statusUrl: "payment-status", onStatus: (word) => heard.push(word),
    signal: stop.signal, ...scenario.options,
  });
}

let outcome, error, done = false;
const running = (async () => act())().then((value) => { outcome = value; }, (reason) => { error = reason.message; });
running.finally(() => { done = true; });
while (true) {
  await new Promise((resolve) => setImmediate(resolve));
  if (done) break;
  if (!timers.length || requests.length > 1000) { error = "stuck"; break; }
  timers.sort((one, other) => one.at - other.at);
  const { at, act: next } = timers.shift();
  now = Math.max(now, at);
  next();
}
console.log(JSON.stringify({ outcome, error, at: now, requests, heard, went }));
