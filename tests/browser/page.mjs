// What every walk through the view needs: claims, and pages that remember what a browser complains about.
import { readFileSync } from "node:fs";

/** What to visit, as `browser.rs` says. */
export const visit = JSON.parse(readFileSync(process.argv[2], "utf8"));
let failed = 0;

/** How many claims did not hold. */
export const failures = () => failed;

/** Says whether a claim holds. */
export async function claim(what, check) {
  const began = performance.now();
  try {
    await check();
    console.log(`ok    ${what} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${what}: ${error.message.split("\n").slice(0, 12).join("\n      ")}`);
  }
}

/** Fails a claim. */
export function must(holds, message) {
  if (!holds) throw new Error(message);
}

/** A page that remembers everything a browser complains about. */
export async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  await context.addInitScript(() => {
    window.__tephraMirror = true;
    window.__violations = [];
    addEventListener("securitypolicyviolation", (event) => {
      window.__violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
    });
  });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`console ${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
  page.on("dialog", (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("requestfailed", (request) => {
    const why = request.failure()?.errorText ?? "";
    // A page that asks again cancels what it asked before.
    if (!why.includes("ERR_ABORTED")) complaints.push(`request failed: ${request.url()} ${why}`);
  });
  page.on("request", (request) => {
    // A page is one of the collector's, or of the mock's.
    const own = page.url() === "about:blank" ? visit.base : new URL(page.url()).origin;
    const { protocol, origin } = new URL(request.url());
    if (protocol !== "data:" && origin !== own && !request.isNavigationRequest()) complaints.push(`asks another site: ${request.url()}`);
  });
  return { context, page, complaints };
}

export async function goto(page, path) {
  await page.goto(visit.base + path, { waitUntil: "load" });
}

/** Nothing was complained of. */
export async function quiet({ page, complaints }) {
  const violations = await page.evaluate(() => window.__violations);
  must(violations.length === 0, `violates its content policy: ${violations.join("; ")}`);
  must(complaints.length === 0, complaints.join("; "));
}

export async function shows(page, text) {
  await page.getByText(text).first().waitFor({ state: "attached", timeout: 20_000 });
}

/** Where the flame graph draws a function: what is on a canvas is told in a list beside it. */
export function frames(page, name) {
  return page.locator(`[data-testid=flame-mirror] li[data-name="${name}"]`);
}
