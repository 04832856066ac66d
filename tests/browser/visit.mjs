// Walks through the view in a real browser: every page, both themes, a phone, the keyboard, hostile names.
//
// node visit.mjs <visit.json>: {"base", "chromium", "pages": [{"name", "path", "shows": [text…], "draws": [function…]}],
// "flames": [{"name", "path", "names"}], "growth": {"path", "leak", "standing"}, "sight": {"service", "diff", "alert", "tower", "own", "thin", "moved", "trace"}, "hostile": {"word", "paths"}}.
// Prints one line per claim; exits 1 if one does not hold.
import { createRequire } from "node:module";
import { accessibleAtAllWidths, states } from "./axe.mjs";
import { hand } from "./hand.mjs";
import { mocked } from "./mocked.mjs";
import { claim, failures, frames, goto, must, open, quiet, shows, visit } from "./page.mjs";
import { sight } from "./sight.mjs";
import { small } from "./small.mjs";

// The view's own packages hold the browser's driver.
const { chromium } = createRequire(new URL("../../web/package.json", import.meta.url))("playwright-core");
/** Waits until a page says and draws what it should. */
async function isThere(page, { shows: texts, draws = [] }) {
  for (const text of texts) await shows(page, text);
  for (const name of draws) await frames(page, name).first().waitFor({ state: "attached", timeout: 20_000 });
}

async function fitsTheScreen(page) {
  // Not what the page takes for the screen's width: a phone shows a page that is too wide smaller.
  const screen = page.viewportSize().width;
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  must(wide <= screen + 1, `scrolls sideways: ${wide} px on a screen of ${screen}`);
  const cut = await page.evaluate((screen) => {
    const texts = [...document.querySelectorAll("h1, h2, p, .sentences li")].filter((text) => text.checkVisibility());
    return texts.filter((text) => text.getBoundingClientRect().right > screen + 1).map((text) => text.textContent);
  }, screen);
  must(cut.length === 0, `text runs off the screen: ${cut[0]}`);
}

/** The colour that a page is written on: the body's, or where it has none, what lies beneath. */
function paper() {
  const colours = [document.body, document.documentElement].map((element) => getComputedStyle(element).backgroundColor);
  return colours.find((colour) => colour !== "rgba(0, 0, 0, 0)") ?? "none";
}

async function everyPage(browser, theme) {
  const background = [];
  for (const { name, path, ...expected } of visit.pages) {
    await claim(`${name}, ${theme}`, async () => {
      const tab = await open(browser, { colorScheme: theme });
      await goto(tab.page, path);
      await isThere(tab.page, expected);
      await quiet(tab);
      background.push(await tab.page.evaluate(paper));
      await accessibleAtAllWidths(tab.page);
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
  for (const { name, path, ...expected } of visit.pages) {
    await claim(`${name} on a phone`, async () => {
      const tab = await open(browser, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
      await goto(tab.page, path);
      await isThere(tab.page, expected);
      await fitsTheScreen(tab.page);
      await quiet(tab);
      await tab.context.close();
    });
  }
}

/** The keys, on a page with a flame graph. */
async function keyboard(browser, flame) {
  const tab = await open(browser);
  const { page } = tab;
  await goto(page, flame.path);
  await frames(page, flame.names[0]).first().waitFor({ state: "attached" });
  await claim(`${flame.name}: the flame graph draws every function of the profile`, async () => {
    for (const name of flame.names) {
      const count = await frames(page, name).count();
      must(count > 0, `${name} is not drawn`);
    }
  });
  await claim(`${flame.name}: the first stop of the Tab key can be seen`, async () => {
    await page.keyboard.press("Tab");
    const seen = await page.evaluate(() => {
      const box = document.activeElement?.getBoundingClientRect();
      return document.activeElement !== document.body && !!box && box.width > 0 && box.height > 0;
    });
    must(seen, "nothing visible has the focus");
  });
  await claim(`${flame.name}: ? opens the keys, Escape closes them, and / searches at once`, async () => {
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
    await page.keyboard.type(flame.names[0]);
    await page.waitForFunction(() => new URLSearchParams(location.search).get("q"));
  });
  await claim(`${flame.name}: Enter on a selected frame focuses it, and the focus is in the URL`, async () => {
    await page.keyboard.press("Escape");
    await goto(page, flame.path);
    const graph = page.locator("[data-testid=flame]");
    await graph.waitFor();
    await graph.focus();
    for (const key of ["ArrowDown", "ArrowDown", "ArrowDown", "Enter"]) await page.keyboard.press(key);
    await page.waitForFunction(() => new URLSearchParams(location.search).get("focus"));
  });
  await claim(`${flame.name}: the keyboard leaves no complaint behind`, () => quiet(tab));
  await tab.context.close();
}

/** What grew, by what a person does there: reads who it was, and follows it with the keyboard alone. */
async function growth(browser) {
  const { path, leak, standing } = visit.growth;
  const tab = await open(browser);
  const { page } = tab;
  await goto(page, path);
  const growers = page.locator("[data-testid=growers] li");
  await growers.first().waitFor();
  await claim("growth: the leak is the one that grew, steadily, and what stands or comes and goes is not in the list", async () => {
    const listed = await growers.evaluateAll((all) => all.map((li) => [li.dataset.name, li.dataset.trend].join(" ")));
    must(listed.join() === `${leak} steady`, `listed: ${listed}`);
    await frames(page, standing).first().waitFor({ state: "attached" });
  });
  await claim("growth: the headline, its rate and the comparison of both ends are there", async () => {
    const total = await page.locator("[data-testid=growth-total]").innerText();
    must(/\+[\d.,]+ [KMG]iB .*\+[\d.,]+ [KMG]iB an hour/.test(total.replaceAll("\u00a0", " ")), `says: ${total}`);
    const diff = await page.locator("[data-testid=growth-diff]").getAttribute("href");
    must(diff.startsWith("/diff?service=sessions&type=inuse_space"), `leads to ${diff}`);
  });
  await claim("growth: Tab reaches the leak's name, and Enter selects it in the graph", async () => {
    for (let stop = 0; stop < 60; stop += 1) {
      await page.keyboard.press("Tab");
      const on = await page.evaluate(() => document.activeElement?.closest("[data-testid=growers] li")?.dataset.name);
      if (on === leak) break;
    }
    await page.keyboard.press("Enter");
    await page.waitForFunction((name) => new URLSearchParams(location.search).get("fn") === name, leak, { timeout: 5_000 });
  });
  await claim("growth: blocks instead of bytes are one click away, and in the URL", async () => {
    await page.locator("[data-type=inuse_objects]").click();
    await page.waitForFunction(() => new URLSearchParams(location.search).get("type") === "inuse_objects");
    await page.locator(`[data-testid=growers] li[data-name="${leak}"]`).getByText(/\+[\d.]+ k? ·/).waitFor();
  });
  await claim("growth: nothing is complained of", () => quiet(tab));
  await tab.context.close();
}

async function hostile(browser) {
  for (const path of visit.hostile.paths) {
    await claim(`hostile names stay text: ${path.split("?")[0]}`, async () => {
      const tab = await open(browser);
      await goto(tab.page, path);
      await tab.page.waitForLoadState("networkidle");
      const word = visit.hostile.word;
      const isThere = (word) => document.documentElement.innerHTML.includes(word);
      const came = tab.page.waitForFunction(isThere, word, { timeout: 20_000 });
      await came.catch(() => must(false, `the hostile names (${word}) are not even on the page`));
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
  for (const flame of visit.flames) await keyboard(browser, flame);
  await growth(browser);
  await sight(browser);
  await small(browser);
  await hand(browser);
  await states(browser);
  await mocked(browser);
  await hostile(browser);
} finally {
  await browser.close();
}
console.log(failures() === 0 ? "all claims hold" : `${failures()} claims do not hold`);
process.exit(failures() === 0 ? 0 : 1);
