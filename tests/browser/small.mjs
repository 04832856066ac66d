// Small things that were wrong once, in a real browser.
import { claim, goto, must, open, quiet, visit } from "./page.mjs";

const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };

const parameter = (page, name) => page.evaluate((name) => new URLSearchParams(location.search).get(name), name);

/** Everything that is copied while a page is open. */
async function rememberCopies(page) {
  await page.addInitScript(() => {
    window.__copied = [];
    const clipboard = { writeText: async (text) => void window.__copied.push(text) };
    Object.defineProperty(navigator, "clipboard", { value: clipboard });
  });
}

async function links(browser) {
  const { service } = visit.sight;
  const tab = await open(browser);
  const { page } = tab;
  await rememberCopies(page);
  await claim("y copies a link whose times stay, and a toast says so", async () => {
    await goto(page, service.replace(/\?.*/, "?from=now-6h"));
    await page.locator("[data-testid=flame]").waitFor();
    await page.keyboard.press("y");
    await page.locator("[data-testid=toast]", { hasText: "Link copied" }).waitFor();
    const [link] = await page.evaluate(() => window.__copied);
    const { searchParams } = new URL(link);
    for (const name of ["from", "until"]) must(/^\d{13}$/.test(searchParams.get(name) ?? ""), `${name} in ${link}`);
  });
  await claim("downloads have names, and what is shown can be had as it is shown", async () => {
    await page.locator("[data-testid=export] summary").click();
    const name = await page.locator("[data-testid=export] [data-group=all][data-format=json]").getAttribute("download");
    must(/^checkout-cpu\.json$/.test(name), `the JSON is called ${name}`);
    const shown = page.locator("[data-testid=export] [data-group=shown][data-format=folded]");
    const [download] = await Promise.all([page.waitForEvent("download"), shown.click()]);
    must(/^checkout-cpu.*\.folded$/.test(download.suggestedFilename()), download.suggestedFilename());
  });
  await claim("a name is copied whole where it is shown plain", async () => {
    await goto(page, `${service}&view=table`);
    const name = page.locator(`[data-testid=functions] [data-name="${visit.sight.thin}"] [data-whole]`);
    await name.waitFor();
    const copied = await name.evaluate((el) => {
      getSelection().selectAllChildren(el);
      const clipboardData = new DataTransfer();
      document.dispatchEvent(new ClipboardEvent("copy", { clipboardData, cancelable: true }));
      return clipboardData.getData("text/plain");
    });
    must(copied === visit.sight.thin, `copied: ${copied}`);
  });
  await claim("a pinned view stays under its pin's address, and its expiry has a year", async () => {
    await goto(page, service);
    await page.locator("[data-testid=pin] summary").click();
    await page.locator("[data-testid=pin] input").fill("before the tax table");
    await page.locator("[data-testid=pin] [type=submit]").click();
    const link = page.locator("[data-testid=pin] a");
    const path = await link.getAttribute("href");
    const said = await page.locator("[data-testid=pin]").innerText();
    if (/until/.test(said)) must(/until \d+ \w+ 20\d\d/.test(said), said);
    await goto(page, path);
    await page.locator("[data-testid=pin-note]", { hasText: "before the tax table" }).waitFor();
    await page.locator("[data-testid=flame]").waitFor();
    must((await page.evaluate(() => location.pathname + location.search)) === path, `the address is ${page.url()}`);
    await page.locator("[data-testid=tab-table]").click();
    must((await parameter(page, "view")) === "table", "what is chosen there has no address of its own");
  });
  await claim("links, downloads and pins leave no complaint behind", () => quiet(tab));
  await tab.context.close();
}

async function themes(browser) {
  await claim("a theme chosen in one tab is taken over by the others", async () => {
    const { context, page } = await open(browser);
    const other = await context.newPage();
    await page.goto(`${visit.base}/status`);
    await other.goto(`${visit.base}/status`);
    const theme = () => other.evaluate(() => document.documentElement.dataset.theme);
    for (const wanted of ["light", "dark"]) {
      await page.locator("[data-testid=theme]").click();
      await other.waitForFunction((wanted) => document.documentElement.dataset.theme === wanted, wanted);
      must((await theme()) === wanted, `the other tab is ${await theme()}`);
    }
    await context.close();
  });
}

async function absent(browser) {
  await claim("a mistyped address is a page that says which there are", async () => {
    const { context, page } = await open(browser);
    const answer = await page.goto(`${visit.base}/servises`);
    must(answer.status() === 404, `status ${answer.status()}`);
    await page.locator("[data-testid=no-page]").waitFor();
    await context.close();
  });
  await claim("the overview says when the collector no longer answers, and keeps what it said", async () => {
    const { context, page } = await open(browser);
    await goto(page, "/");
    await page.locator("[data-testid=service-row]").first().waitFor();
    await page.route("**/api/v1/services?*", (route) => route.abort());
    await page.locator("[data-testid=range]").selectOption("now-15m");
    await page.locator("[data-testid=stale]").waitFor();
    must((await page.locator("[data-testid=service-row]").count()) > 0, "the services are gone");
    await context.close();
  });
  await claim("the first run fits a phone, and offers a sample that is drawn", async () => {
    const tab = await open(browser, PHONE);
    const { page } = tab;
    await page.route("**/api/v1/services?*", (route) => route.fulfill({ json: { services: [] } }));
    await goto(page, "/");
    await page.locator("[data-testid=first-run]").waitFor();
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    must(wide <= 361, `${wide} px on a screen of 360`);
    await page.locator("[data-testid=try-sample]").click();
    await page.locator("[data-testid=sample] [data-testid=flame]").waitFor();
    await page.locator('[data-testid=flame-mirror] li[data-name="shop::tax::TaxRules::rate_for"]').waitFor({ state: "attached" });
    await quiet(tab);
    await tab.context.close();
  });
}

/** Panels and tabs on a phone, ten years on the axis, and a row of tools that does not overlap while searching. */
async function layout(browser) {
  const { service, thin } = visit.sight;
  await claim("on a phone the graph begins on the first screen, the open menu is on it, and the active tab too", async () => {
    const { context, page } = await open(browser, PHONE);
    await goto(page, service);
    const top = await page.locator("[data-testid=flame]").evaluate((el) => el.getBoundingClientRect().top);
    must(top < 740 - 80, `the graph begins at ${top} of 740`);
    await page.locator("[data-testid=export] summary").click();
    const panel = await page.locator("[data-testid=export] .popover-panel").boundingBox();
    must(panel.x >= 0 && panel.x + panel.width <= 360 && panel.y + panel.height <= 740, JSON.stringify(panel));
    await goto(page, `${service}&view=requests`);
    const tab = page.locator("[data-testid=tab-requests]");
    await tab.waitFor();
    const box = await tab.boundingBox();
    must(box.x >= 0 && box.x + box.width <= 360, `the active tab is at ${box.x}`);
    await context.close();
  });
  for (const width of [1440, 1024, 390]) {
    await claim(`at ${width} px the tools beside a search do not overlap`, async () => {
      const { context, page } = await open(browser, { viewport: { width, height: 900 } });
      await goto(page, `${service}&q=${thin}`);
      await page.locator("[data-testid=search-result]").waitFor();
      const boxes = await page.locator(".search > *, .explorer-bar .bar-end > *").evaluateAll((all) =>
        all.filter((el) => el.checkVisibility()).map((el) => el.getBoundingClientRect().toJSON()),
      );
      for (const [i, a] of boxes.entries())
        for (const b of boxes.slice(i + 1)) {
          const apart = a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
          must(apart, `${JSON.stringify(a)} and ${JSON.stringify(b)}`);
        }
      await context.close();
    });
  }
  await claim("ten years on the axis are a few ticks", async () => {
    const { context, page } = await open(browser);
    await goto(page, service.replace(/\?.*/, "?from=now-3650d"));
    await page.locator(".tl-tick").first().waitFor();
    const ticks = await page.locator(".tl-tick").count();
    must(ticks > 2 && ticks < 20, `${ticks} ticks`);
    await context.close();
  });
}

export async function small(browser) {
  await links(browser);
  await themes(browser);
  await absent(browser);
  await layout(browser);
}
