// Walks through the view in a real browser: every page, both themes, a phone, the keyboard, hostile names.
//
// node visit.mjs <visit.json>: {"base", "chromium", "pages": [{"name", "path", "shows": [text…]}], "flame": {"path", "names"},
// "hostile": {"word", "paths"}}.
// Prints one line per claim; exits 1 if one does not hold.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// The view's own packages hold the browser's driver.
const { chromium } = createRequire(new URL("../../web/package.json", import.meta.url))("playwright-core");

const visit = JSON.parse(readFileSync(process.argv[2], "utf8"));
let failed = 0;

async function claim(what, check) {
  try {
    await check();
    console.log(`ok    ${what}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${what}: ${error.message.split("\n").slice(0, 12).join("\n      ")}`);
  }
}

function must(holds, message) {
  if (!holds) throw new Error(message);
}

/** A page that remembers everything a browser complains about. */
async function open(browser, options = {}) {
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
    if (!request.url().startsWith(visit.base) && !request.url().startsWith("data:")) {
      complaints.push(`asks another site: ${request.url()}`);
    }
  });
  return { context, page, complaints };
}

async function goto(page, path) {
  await page.goto(visit.base + path, { waitUntil: "load" });
}

async function quiet({ page, complaints }) {
  const violations = await page.evaluate(() => window.__violations);
  must(violations.length === 0, `violates its content policy: ${violations.join("; ")}`);
  must(complaints.length === 0, complaints.join("; "));
}

async function shows(page, text) {
  await page.getByText(text).first().waitFor({ state: "attached", timeout: 20_000 });
}

async function fitsTheScreen(page) {
  const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  must(wide <= screen + 1, `scrolls sideways: ${wide} px on a screen of ${screen}`);
}

/** The colour that a page is written on: the body's, or where it has none, what lies beneath. */
function paper() {
  const colours = [document.body, document.documentElement].map((element) => getComputedStyle(element).backgroundColor);
  return colours.find((colour) => colour !== "rgba(0, 0, 0, 0)") ?? "none";
}

async function everyPage(browser, theme) {
  const background = [];
  for (const { name, path, shows: texts } of visit.pages) {
    await claim(`${name}, ${theme}`, async () => {
      const tab = await open(browser, { colorScheme: theme });
      await goto(tab.page, path);
      for (const text of texts) await shows(tab.page, text);
      await quiet(tab);
      background.push(await tab.page.evaluate(paper));
      await tab.context.close();
    });
  }
  return new Set(background);
}

async function themesDiffer(light, dark) {
  must(light.size > 0 && dark.size > 0, "no page opened");
  must(![...light].some((colour) => dark.has(colour)), `light ${[...light]} and dark ${[...dark]} share a background`);
}

async function phone(browser) {
  for (const { name, path, shows: texts } of visit.pages) {
    await claim(`${name} on a phone`, async () => {
      const tab = await open(browser, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
      await goto(tab.page, path);
      for (const text of texts) await shows(tab.page, text);
      await fitsTheScreen(tab.page);
      await quiet(tab);
      await tab.context.close();
    });
  }
}

async function keyboard(browser) {
  const tab = await open(browser);
  const { page } = tab;
  await goto(page, visit.flame.path);
  await page.locator(`[data-testid=flame-mirror] li[data-name="${visit.flame.names[0]}"]`).first().waitFor({ state: "attached" });
  await claim("the flame graph draws every function of the profile", async () => {
    for (const name of visit.flame.names) {
      const count = await page.locator(`[data-testid=flame-mirror] li[data-name="${name}"]`).count();
      must(count > 0, `${name} is not drawn`);
    }
  });
  await claim("the first stop of the Tab key can be seen", async () => {
    await page.keyboard.press("Tab");
    const seen = await page.evaluate(() => {
      const box = document.activeElement?.getBoundingClientRect();
      return document.activeElement !== document.body && !!box && box.width > 0 && box.height > 0;
    });
    must(seen, "nothing visible has the focus");
  });
  await claim("? opens the keys, Escape closes them, and / searches at once", async () => {
    const search = "[data-testid=search]";
    // A dialog that just closed holds the focus for some milliseconds: often enough to be met by one of these.
    for (let round = 1; round <= 30; round += 1) {
      await page.evaluate(() => document.activeElement?.blur());
      await page.keyboard.press("?");
      await page.locator("dialog[open]").waitFor();
      await page.keyboard.press("Escape");
      await page.locator("dialog[open]").waitFor({ state: "detached" });
      await page.keyboard.press("/");
      const reached = await page.evaluate((box) => document.activeElement?.matches(box), search);
      must(reached, `round ${round}: the search box has not got the focus`);
    }
    await page.keyboard.type(visit.flame.names[0]);
    await page.waitForFunction(() => new URLSearchParams(location.search).get("q"));
  });
  await claim("Enter on a selected frame focuses it, and the focus is in the URL", async () => {
    await page.keyboard.press("Escape");
    await goto(page, visit.flame.path);
    const graph = page.locator("[data-testid=flame]");
    await graph.waitFor();
    await graph.focus();
    for (const key of ["ArrowDown", "ArrowDown", "ArrowDown", "Enter"]) await page.keyboard.press(key);
    await page.waitForFunction(() => new URLSearchParams(location.search).get("focus"));
  });
  await claim("the keyboard leaves no complaint behind", () => quiet(tab));
  await tab.context.close();
}

async function hostile(browser) {
  for (const path of visit.hostile.paths) {
    await claim(`hostile names stay text: ${path.split("?")[0]}`, async () => {
      const tab = await open(browser);
      await goto(tab.page, path);
      await tab.page.waitForLoadState("networkidle");
      const html = await tab.page.content();
      const word = visit.hostile.word;
      must(html.includes(word), `the hostile names (${word}) are not even on the page`);
      const ran = await tab.page.evaluate(() => window.__ran);
      must(ran === undefined, `a name ran as script: ${ran}`);
      const made = await tab.page.locator(`img[src*="${word}"], script[src*="${word}"], a[href^="javascript:"], svg[onload]`).count();
      must(made === 0, `${made} elements were made of names`);
      await quiet(tab);
      await tab.context.close();
    });
  }
}

const args = ["--no-first-run", "--disable-dev-shm-usage", ...(process.getuid() === 0 ? ["--no-sandbox"] : [])];
const browser = await chromium.launch({ executablePath: visit.chromium, args });
try {
  const light = await everyPage(browser, "light");
  const dark = await everyPage(browser, "dark");
  await claim("light and dark are different", () => themesDiffer(light, dark));
  await phone(browser);
  await keyboard(browser);
  await hostile(browser);
} finally {
  await browser.close();
}
console.log(failed === 0 ? "all claims hold" : `${failed} claims do not hold`);
process.exit(failed === 0 ? 0 : 1);
