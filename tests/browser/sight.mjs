// What is chosen lands in sight: at three widths, by search, by a list, by a link, and by the way back.
import { claim, frames, goto, must, open, quiet, visit } from "./page.mjs";

const SCREENS = [
  { viewport: { width: 1440, height: 900 } },
  { viewport: { width: 1024, height: 768 } },
  { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
];

/** Waits until the selected box is `name`'s and can be seen: in the pane, on the screen, above a sheet of details, and wide enough. */
async function seen(page, name) {
  // Runs in the page; says what is wrong, or only whether nothing is.
  const look = ({ name, words }) => {
    const wrong = fault();
    return words ? wrong : wrong === "";
    function fault() {
      const list = document.querySelector("[data-testid=flame-mirror]");
      const box = list?.querySelector(`li[data-node="${list.dataset.selected}"]`);
      if (!box) return "no selected box is drawn";
      if (box.dataset.name !== name) return `selected is ${box.dataset.name}`;
      const pane = document.querySelector("[data-testid=flame] .flame-host").getBoundingClientRect();
      const sheet = document.querySelector(".details:not(.is-empty)");
      const covered = sheet && getComputedStyle(sheet).position === "fixed" ? sheet.getBoundingClientRect().top : innerHeight;
      const { x, y, w } = Object.fromEntries(["x", "y", "w"].map((at) => [at, Number(box.dataset[at])]));
      const [top, bottom] = [pane.top + y, pane.top + y + 18];
      if (top < Math.max(0, pane.top) || bottom > Math.min(covered, pane.bottom)) return `rows ${top} to ${bottom} of ${covered}`;
      return w >= 40 && x + w > 20 && x < pane.width - 20 ? "" : `${w} px wide, from ${x}`;
    }
  };
  const came = page.waitForFunction(look, { name }, { timeout: 20_000 });
  await came.catch(async () => must(false, `${name} is not in sight: ${await page.evaluate(look, { name, words: true })}`));
}

const parameter = (page, name) => page.evaluate((name) => new URLSearchParams(location.search).get(name), name);

/** Runtimes are hidden until somebody asks for them, who is then remembered; and the link says so. */
async function frameworks(browser, options, where) {
  const { service, tower, own } = visit.sight;
  const tab = await open(browser, options);
  const { page } = tab;
  await claim(`${where}: runtimes are hidden at first, own code begins below the root, and the link says so`, async () => {
    await goto(page, service);
    await frames(page, own).first().waitFor({ state: "attached" });
    must((await frames(page, own).first().getAttribute("data-depth")) <= 2, "own code is deep down");
    must((await frames(page, tower).count()) === 0, `${tower} is drawn`);
    must((await parameter(page, "fw")) === "hidden", "the link does not say that they are hidden");
  });
  await claim(`${where}: the chip brings them back, here and on the next page`, async () => {
    await page.locator("[data-testid=frameworks] button").click();
    await frames(page, tower).first().waitFor({ state: "attached" });
    must((await parameter(page, "fw")) === "shown", "the link does not say that they are shown");
    await goto(page, service);
    await frames(page, tower).first().waitFor({ state: "attached" });
    await page.locator("button[data-testid=frameworks]").click();
    await frames(page, tower).first().waitFor({ state: "detached" });
  });
  await tab.context.close();
}

async function chosen(browser, options, where) {
  const { service, diff, alert, thin, moved, tower } = visit.sight;
  const tab = await open(browser, options);
  const { page } = tab;
  const search = page.locator("[data-testid=search]");
  await claim(`${where}: Enter in the search brings the widest match into sight, and says which of how many`, async () => {
    await goto(page, service);
    await search.fill(thin);
    await search.press("Enter");
    await seen(page, thin);
    const said = await page.locator("[data-testid=search-result]").innerText();
    must(/^[\d.]+\s% · 1 of \d+$/.test(said), `says: ${said}`);
  });
  await claim(`${where}: a search that finds only what is hidden says so and shows it`, async () => {
    await goto(page, service);
    await search.fill(tower);
    await page.locator("[data-testid=search-hidden]").click();
    await search.press("Enter");
    await seen(page, tower);
    await page.locator("button[data-testid=frameworks]").click();
  });
  await claim(`${where}: what moved is one click away, and the way back leads to what was chosen before`, async () => {
    await goto(page, diff);
    const movers = page.locator("[data-testid=movers] li");
    await movers.first().waitFor();
    must((await movers.count()) > 1, "only one function moved");
    const second = await movers.nth(1).getAttribute("data-name");
    await movers.nth(0).locator("button").click();
    await seen(page, moved);
    await movers.nth(1).locator("button").click();
    await seen(page, second);
    await page.goBack();
    await seen(page, moved);
  });
  await claim(`${where}: "show" in a sentence shows its function`, async () => {
    await goto(page, diff);
    await page.locator("[data-testid=sentences] .is-cause button").first().click();
    await seen(page, moved);
  });
  await claim(`${where}: an alert shows its times and its cause on the first screen`, async () => {
    await goto(page, alert);
    const list = page.locator(`[data-testid=alert-flame-mirror] li[data-name="${moved}"]`);
    await list.first().waitFor({ state: "attached" });
    for (const part of ["brush-a", "brush-b", "alert-flame"]) {
      const { top } = await page.locator(`[data-testid=${part}]`).evaluate((el) => el.getBoundingClientRect().toJSON());
      must(top < options.viewport.height - 100, `${part} begins at ${top} of ${options.viewport.height}`);
    }
  });
  await claim(`${where}: an alert leads to its cause in the comparison`, async () => {
    await goto(page, alert);
    await page.locator(`[data-testid=movers] li[data-name="${moved}"] a`).click();
    await seen(page, moved);
    await page.reload();
    await seen(page, moved);
  });
  await claim(`${where}: nothing of that is complained of`, () => quiet(tab));
  await tab.context.close();
}

export async function sight(browser) {
  for (const options of SCREENS) {
    const where = `${options.viewport.width} px`;
    await frameworks(browser, options, where);
    await chosen(browser, options, where);
  }
}
