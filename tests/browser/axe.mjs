// Every page for everybody: axe finds nothing to complain of, in both themes, at three widths, with menus and boxes open.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { claim, frames, goto, must, open, visit } from "./page.mjs";

const SOURCE = readFileSync(createRequire(new URL("../../web/package.json", import.meta.url)).resolve("axe-core/axe.min.js"), "utf8");
export const WIDTHS = [1440, 1024, 390];

// Nobody but tests has it, and it is thousands of elements.
const MIRROR = "[data-testid$=-mirror]";

/** Fails with what axe says of the page as it is; by these of its rules alone, if any are named. */
export async function accessible(page, where, rules) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(SOURCE);
  const options = { resultTypes: ["violations"], ...(rules && { runOnly: rules }) };
  const { violations } = await page.evaluate(([exclude, options]) => window.axe.run({ include: [["html"]], exclude }, options), [[[MIRROR]], options]);
  const words = violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(" | ")}`);
  must(violations.length === 0, `${where}: ${words.join("\n")}`);
}

/** The same at all widths; the page follows. */
export async function accessibleAtAllWidths(page, rules) {
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 900 });
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    await accessible(page, `${width} px`, rules);
  }
}

/** What a page is while something is open on it. */
const STATES = [
  ["a frame is selected", async (page) => frames(page, visit.sight.own).first().waitFor({ state: "attached" }).then(() => page.locator("[data-testid=flame]").focus()).then(() => page.keyboard.press("ArrowDown")).then(() => page.keyboard.press("ArrowDown"))],
  ["its menu is open", async (page) => {
    await page.keyboard.press("m");
    await page.locator("[data-testid=frame-menu]").waitFor();
  }],
  ["a filter is typed", async (page) => {
    await page.keyboard.press("Escape");
    await page.keyboard.press("F");
    await page.locator("[data-testid=filter-box] input").fill("hide:/(/");
    await page.keyboard.press("Enter");
    await page.locator("[data-testid=filter-box] [role=alert]").waitFor();
    await page.keyboard.press("Escape");
  }],
  ["the exports are open", (page) => page.locator("[data-testid=export] summary").click()],
  ["the keys are listed", async (page) => {
    await page.locator("[data-testid=export] summary").click();
    await page.keyboard.press("?");
    await page.locator("dialog[open]").waitFor();
  }],
];

export async function states(browser) {
  for (const colorScheme of ["light", "dark"]) {
    const { context, page } = await open(browser, { colorScheme });
    await goto(page, visit.sight.service);
    for (const [what, become] of STATES)
      await claim(`axe, ${colorScheme}: ${what}`, async () => {
        await become(page);
        await accessible(page, what);
      });
    for (const view of ["bottomup", "sandwich", "tree", "table", "requests"])
      await claim(`axe, ${colorScheme}: ${view}`, async () => {
        await goto(page, `${visit.sight.service}&view=${view}`);
        await page.locator(`[data-testid=tab-${view}][aria-selected=true]`).waitFor();
        await accessibleAtAllWidths(page);
      });
    await claim(`axe, ${colorScheme}: why slow requests are slow`, async () => {
      await goto(page, `${visit.sight.service}&view=requests&route=%2Forders&why=1`);
      const said = await page.locator("[data-testid=why-sentences]").innerText();
      must(said.includes("too few examples"), said);
      await accessibleAtAllWidths(page);
    });
    await context.close();
  }
}
