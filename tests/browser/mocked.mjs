// The view over made-up answers (`web/mock`): states that a running collector is seldom in, and journeys that use the keyboard alone.
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { accessible, accessibleAtAllWidths } from "./axe.mjs";
import { claim, must, open, quiet } from "./page.mjs";

const web = new URL("../../web/", import.meta.url);

/** Serves `web/dist` with the mock behind it; the answer is its address and how to stop it. */
async function serve() {
  const vite = createRequire(new URL("package.json", web)).resolve("vite");
  const { preview } = await import(pathToFileURL(vite).href);
  process.env.TEPHRA_MOCK = "1";
  const root = fileURLToPath(web);
  const server = await preview({
    configFile: `${root}vite.config.ts`,
    root: `${root}view`,
    logLevel: "error",
    preview: { host: "127.0.0.1", port: 0, strictPort: false, open: false },
  });
  return { base: `http://127.0.0.1:${server.httpServer.address().port}`, stop: () => server.close() };
}

const MINUTE = 60_000;
const DEPLOY_AGO = 22 * MINUTE;
const LOOKUP = "checkout::tax_v2::Table::lookup";
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";

function diffPath() {
  const at = Date.now() - DEPLOY_AGO;
  const [a0, a1, b0, b1] = [at - 15 * MINUTE, at - MINUTE, at + MINUTE, at + 15 * MINUTE];
  return `/diff?service=checkout&a.from=${a0}&a.until=${a1}&b.from=${b0}&b.until=${b1}`;
}

const FAILURE = { code: "unavailable", message: "the store did not answer within 10 s", hint: "wait, then ask again" };

const by = (id) => `[data-testid=${id}]`;
const click = (selector) => (page) => page.locator(selector).first().click();
const selected = `/s/checkout?fn=${encodeURIComponent(LOOKUP)}&sel=function`;
const why = "/s/checkout?view=requests&route=POST%20%2Fcheckout";

/** What a page is in, how it gets there, and what is there then. */
const STATES = [
  { name: "overview with a change", path: "/", is: by("changed-link") },
  { name: "overview, first run", path: "/", services: [], is: by("first-run") },
  { name: "sample profile", path: "/?sample=1", is: by("sample") },
  { name: "no such page", path: "/servises", is: by("no-page") },
  { name: "a collector that fails", path: "/s/broken", is: by("error") },
  { name: "a service without data", path: "/s/empty", is: by("empty") },
  { name: "too few samples", path: "/s/few", is: `${by("notes")} >> text=samples` },
  { name: "an answer that is cut short", path: "/s/cut", is: by("flame") },
  { name: "missing symbols, opened", path: "/s/unsymbolised", become: click(`${by("notes")} summary`), is: "text=libcrypto" },
  { name: "details with requests", path: selected, become: click(`${by("function-requests")} summary`), is: `${by("function-requests")} .trace-list` },
  { name: "a what-if", path: `${selected}&wi=2:${encodeURIComponent(LOOKUP)}`, is: by("whatif") },
  { name: "a search", path: "/s/checkout?q=serde", is: by("search-result") },
  { name: "a search that is wrong", path: "/s/checkout?q=%2F(%2F", is: `${by("search")}[aria-invalid=true]` },
  { name: "split by version", path: "/s/checkout?by=version", is: by("split") },
  { name: "a pin to be made", path: "/s/checkout", become: click(`${by("pin")} summary`), is: `${by("pin")} form` },
  { name: "a mark to be made", path: "/s/checkout", become: click(`${by("note")} summary`), is: `${by("note")} form` },
  { name: "a label to be chosen", path: "/s/checkout", become: click(`${by("add-filter")} summary`), is: `${by("add-filter")} select` },
  { name: "the words explained", path: "/s/checkout", become: click("text=What do these words mean?"), is: "dialog[open]" },
  { name: "a link copied", path: "/s/checkout", become: (page) => page.keyboard.press("y"), is: `${by("toast")}.is-on` },
  { name: "following the time", path: "/s/checkout?live=1", is: `${by("live")}[aria-pressed=true]` },
  { name: "a pinned view", path: "/p/b7k2", is: by("pin-note") },
  { name: "requests, selected by numbers", path: why, become: click(`${by("brush-form")} summary`), is: `${by("brush-form")} input` },
  { name: "why requests are slow, in full", path: `${why}&why=1`, is: `${by("why-cost")} >> nth=1` },
  { name: "a comparison, a change selected", path: diffPath, become: click(`${by("movers")} li button`), is: by("details-verdict") },
  { name: "a comparison in a table", path: () => `${diffPath()}&view=table`, is: by("functions") },
  { name: "growth after a restart", path: "/growth?service=checkout", is: by("growers") },
  { name: "an alert", path: () => `/alert?service=checkout&at=${Date.now() - 12 * MINUTE}`, is: by("picture") },
  { name: "a trace of three services", path: `/trace/${TRACE}`, is: by("waterfall") },
  { name: "a trace that is not there", path: `/trace/${"0".repeat(32)}`, is: by("error") },
  { name: "a trace that cannot be asked for", path: `/trace/${TRACE}`, fails: "**/api/v1/traces/**", is: by("error") },
  { name: "an overview that cannot be asked for", path: "/", fails: "**/api/v1/services?*", is: by("error") },
  { name: "an alert that cannot be explained", path: "/alert?service=checkout&at=1", fails: "**/alert.json?*", is: by("error") },
  { name: "a status that cannot be asked for", path: "/status", fails: "**/api/v1/status", is: by("error") },
  { name: "requests that cannot be compared", path: `${why}&why=1`, fails: "**/api/v1/requests/compare?*", is: `${by("why")} [role=alert]` },
  { name: "an alert that is being explained", path: "/alert?service=checkout&at=1", hangs: "**/alert.json?*", is: by("loading") },
  { name: "a profile that is being merged", path: "/s/checkout", hangs: "**/api/v1/flamegraph?*", is: by("loading") },
  { name: "what an operator must know", path: "/status", is: by("conditions") },
];

async function states(browser, base) {
  for (const { name, path, become, is, services, fails, hangs } of STATES)
    await claim(`axe, in both themes: ${name}`, async () => {
      const { context, page } = await open(browser, { colorScheme: "light", reducedMotion: "reduce", viewport: { width: 1440, height: 900 } });
      if (services) await page.route("**/api/v1/services?*", (route) => route.fulfill({ json: { services } }));
      if (fails) await page.route(fails, (route) => route.fulfill({ status: 503, json: FAILURE }));
      if (hangs) await page.route(hangs, () => {});
      await page.goto(base + (typeof path === "function" ? path() : path));
      if (become) {
        await page.locator("main").waitFor();
        await page.locator("[aria-busy=true]").waitFor({ state: "detached" });
        await become(page);
      }
      await page.locator(is).first().waitFor();
      await accessibleAtAllWidths(page);
      // All that a theme changes is colours: the page stays, and is looked at again for those.
      await page.emulateMedia({ colorScheme: "dark" });
      await accessibleAtAllWidths(page, ["color-contrast"]);
      await context.close();
    });
  await claim("axe: a trace id that is none, on a phone", async () => {
    const { context, page } = await open(browser, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
    await page.goto(`${base}/`);
    await page.locator("[data-testid=trace-open] summary").click();
    await page.locator("[data-testid=trace-box]").fill("none");
    await page.keyboard.press("Enter");
    await page.locator("[role=alert]").waitFor();
    await accessible(page, "390 px");
    await context.close();
  });
}

/** Presses Tab until what has the focus matches; what has it must be seen. */
async function tabTo(page, selector) {
  for (let stop = 0; stop < 120; stop += 1) {
    await page.keyboard.press("Tab");
    const there = await page.evaluate((selector) => {
      const on = document.activeElement;
      if (!on?.matches(selector)) return null;
      const { width, height } = on.getBoundingClientRect();
      const style = getComputedStyle(on);
      return { seen: width > 0 && height > 0, ring: style.outlineStyle !== "none" || style.boxShadow !== "none" };
    }, selector);
    if (!there) continue;
    must(there.seen && there.ring, `${selector} has the focus, and it does not show`);
    return;
  }
  must(false, `Tab does not reach ${selector}`);
}

const selectedName = (page, name) =>
  page.waitForFunction(
    (name) => {
      const list = document.querySelector("[data-testid=flame-mirror]");
      return list?.querySelector(`li[data-node="${list.dataset.selected}"]`)?.dataset.name === name;
    },
    name,
    { timeout: 20_000 },
  );

async function journeys(browser, base) {
  await claim("keyboard alone: CPU rose after a deploy, from the overview to the function that did it", async () => {
    const tab = await open(browser);
    const { page } = tab;
    await page.goto(`${base}/`);
    await page.locator("[data-testid=changed-link]").waitFor();
    await tabTo(page, "[data-testid=changed-link]");
    await page.keyboard.press("Enter");
    const mover = page.locator("[data-testid=movers] li").first();
    await mover.waitFor();
    const name = await mover.getAttribute("data-name");
    await tabTo(page, `[data-testid=movers] li[data-name="${name}"] button`);
    await page.keyboard.press("Enter");
    await selectedName(page, name);
    await page.locator("[data-testid=details-verdict]", { hasText: "not by chance" }).waitFor();
    await quiet(tab);
    await tab.context.close();
  });
  await claim("keyboard alone: from an alert to the line of its cause", async () => {
    const tab = await open(browser);
    const { page } = tab;
    await page.goto(`${base}/alert?service=checkout&at=${Date.now() - 12 * MINUTE}`);
    await page.locator(`[data-testid=movers] li[data-name="${LOOKUP}"] a`).waitFor();
    await tabTo(page, `[data-testid=movers] li[data-name="${LOOKUP}"] a`);
    await page.keyboard.press("Enter");
    await selectedName(page, LOOKUP);
    await page.locator("[data-testid=details] code", { hasText: /\.rs:\d+/ }).waitFor();
    await quiet(tab);
    await tab.context.close();
  });
  await claim("keyboard alone: which function makes the slowest requests slow, and a trace that shows it", async () => {
    const tab = await open(browser);
    const { page } = tab;
    await page.goto(`${base}/s/checkout`);
    await page.locator("[data-testid=flame]").waitFor();
    await page.keyboard.press("6");
    await page.locator("[data-testid=requests]").waitFor();
    await tabTo(page, "[data-testid=requests] .why-link");
    await page.keyboard.press("Enter");
    await page.locator("[data-testid=why-cost] a").first().waitFor();
    await tabTo(page, "[data-testid=why-cost] a");
    const name = await page.evaluate(() => new URL(document.activeElement.href).searchParams.get("fn"));
    await page.keyboard.press("Enter");
    await selectedName(page, name);
    await tabTo(page, "[data-testid=function-requests] summary");
    await page.keyboard.press("Enter");
    await page.locator("[data-testid=function-requests] .trace-list a").first().waitFor();
    await tabTo(page, "[data-testid=function-requests] .trace-list a");
    await page.keyboard.press("Enter");
    await page.locator("[data-testid=waterfall]").waitFor();
    await quiet(tab);
    await tab.context.close();
  });
}

/** Reads, by clicks that are counted. */
async function clicks(browser, base) {
  await claim("two clicks from the overview: why a service takes more CPU since its deploy", async () => {
    const { context, page } = await open(browser);
    await page.goto(`${base}/`);
    await page.locator("[data-testid=changed-link]").click();
    await page.locator("[data-testid=sentences] .is-cause").waitFor();
    await page.locator("[data-testid=sentences] .is-cause button").click();
    await page.locator("[data-testid=details-verdict]", { hasText: "not by chance" }).waitFor();
    await context.close();
  });
}

/** A profile of 200 000 nodes, whose views are made beside the page. */
async function large(browser, base) {
  const tab = await open(browser);
  const { page } = tab;
  const settled = () => page.locator("[data-testid=explorer][aria-busy=false]").waitFor();
  const boxes = (list) => page.locator(`[data-testid=${list}] li`);
  await claim("a large profile: a function that is hidden is shown and in sight where a link chooses it", async () => {
    const hidden = "tokio::runtime::function_2";
    await page.goto(`${base}/s/large?fn=${encodeURIComponent(hidden)}&sel=function`);
    await selectedName(page, hidden);
    must((await page.evaluate(() => new URLSearchParams(location.search).get("fw"))) === "shown", "runtimes are not shown");
  });
  await claim("a large profile: a filter cuts the graph and its undoing brings it back", async () => {
    await page.goto(`${base}/s/large`);
    await boxes("flame-mirror").first().waitFor({ state: "attached" });
    const total = () => boxes("flame-mirror").first().getAttribute("data-b");
    const all = Number(await total());
    await page.keyboard.press("F");
    await page.locator("[data-testid=filter-box] input").fill("keep:function_777");
    await page.keyboard.press("Enter");
    await page.locator('[data-filter="keep:function_777"]').waitFor();
    await settled();
    await page.waitForFunction((all) => Number(document.querySelector("[data-testid=flame-mirror] li").dataset.b) < all, all);
    await page.locator("[data-testid=filter-undo]").click();
    await page.waitForFunction((all) => Number(document.querySelector("[data-testid=flame-mirror] li").dataset.b) === all, all);
  });
  await claim("a large profile: bottom-up, sandwich, tree and functions are there one after the other", async () => {
    for (const [view, there] of [
      ["bottomup", "[data-testid=flame-mirror] li"],
      ["sandwich", "[data-testid=callers-mirror] li"],
      ["tree", "[data-testid=tree] [data-name]"],
      ["table", "[data-testid=functions] [data-name]"],
      ["flame", "[data-testid=flame-mirror] li"],
    ]) {
      await page.locator(`[data-testid=tab-${view}]`).click();
      await page.locator(`[data-testid=tab-${view}][aria-selected=true]`).waitFor();
      await page.locator(there).first().waitFor({ state: "attached" });
    }
    await quiet(tab);
  });
  await tab.context.close();
}

/** What is told in rows and columns has room on a phone, and what is said comes first. */
async function phone(browser, base) {
  const options = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
  for (const [name, path, table] of [
    ["requests", "/s/checkout?view=requests", by("requests")],
    ["agents", "/status", by("agents")],
    ["why requests are slow", `${why}&why=1`, by("why-cost")],
  ])
    await claim(`on a phone every column of "${name}" is on the screen`, async () => {
      const { context, page } = await open(browser, options);
      await page.goto(base + path);
      await page.locator(table).first().waitFor();
      const right = await page.locator(`${table} th:visible, ${table} td:visible`).evaluateAll((cells) => Math.max(...cells.map((cell) => cell.getBoundingClientRect().right)));
      must(right <= 391, `a cell ends at ${right} px`);
      await context.close();
    });
  await claim("on a phone a comparison says what changed in the upper half of the first screen", async () => {
    const { context, page } = await open(browser, options);
    await page.goto(base + diffPath());
    const headline = page.locator("[data-testid=sentences] .is-headline");
    await headline.waitFor();
    const { y } = await headline.boundingBox();
    must(y < 422, `it begins at ${y} of 844`);
    await context.close();
  });
}

export async function mocked(browser) {
  const { base, stop } = await serve();
  try {
    await journeys(browser, base);
    await clicks(browser, base);
    await phone(browser, base);
    await large(browser, base);
    await states(browser, base);
  } finally {
    await stop();
  }
}
