// What a person does with a view: filters, what-ifs, pictures, clocks, marks, and the way from a label to a comparison.
import { claim, frames, goto, must, open, quiet, visit } from "./page.mjs";

const parameters = (page, name) => page.evaluate((name) => new URLSearchParams(location.search).getAll(name), name);
const parameter = async (page, name) => (await parameters(page, name))[0] ?? null;
const SCREENS = [
  { viewport: { width: 1440, height: 900 } },
  { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
];

async function filters(browser, options) {
  const { service, own, thin, moved } = visit.sight;
  const where = `${options.viewport.width} px`;
  const tab = await open(browser, options);
  const { page } = tab;
  const type = async (text) => {
    await page.locator("[data-testid=filter-add]").click();
    await page.locator("[data-testid=filter-box] input").fill(text);
    await page.keyboard.press("Enter");
  };
  await claim(`${where}: a filter that is typed is a chip, is in the link, and cuts the graph`, async () => {
    await goto(page, service);
    await frames(page, thin).first().waitFor({ state: "attached" });
    await type(`keep:${moved}`);
    await page.locator(`[data-filter="keep:${moved}"]`).waitFor();
    await frames(page, thin).first().waitFor({ state: "detached" });
    must((await frames(page, moved).count()) > 0, `${moved} is gone`);
    must((await parameter(page, "t")) === `keep:${moved}`, `the link has ${await parameters(page, "t")}`);
    await page.reload();
    await page.locator(`[data-filter="keep:${moved}"]`).waitFor();
  });
  await claim(`${where}: filters apply one after the other, are changed by a click, and undone`, async () => {
    const depth = async () => Number(await frames(page, moved).first().getAttribute("data-depth"));
    const before = await depth();
    await type(`hide:fn:${own}`);
    await frames(page, own).first().waitFor({ state: "detached" });
    must((await depth()) === before - 1, `${moved} is at depth ${await depth()}, ${before} before`);
    await page.locator(`[data-filter="keep:${moved}"] .chip-text`).click();
    await page.locator("[data-testid=filter-box] input").fill(thin);
    await page.keyboard.press("Enter");
    await frames(page, thin).first().waitFor({ state: "attached" });
    must((await parameters(page, "t")).join() === `keep:${thin},hide:fn:${own}`, `${await parameters(page, "t")}`);
    await page.locator("[data-testid=filter-undo]").click();
    await frames(page, thin).first().waitFor({ state: "detached" });
    await page.locator("[data-testid=filter-undo]").click();
    await frames(page, own).first().waitFor({ state: "attached" });
  });
  await claim(`${where}: exports are asked for with the same filters`, async () => {
    await page.locator("[data-testid=export] summary").click();
    const href = await page.locator("[data-group=shown][data-format=folded]").getAttribute("href");
    const asked = new URL(href, visit.base).searchParams.getAll("filter");
    must(asked.includes(`keep:${moved}`) && asked.at(-1) === "hide:@frameworks", `asked with ${asked}`);
    const folded = await (await page.request.get(visit.base + href)).text();
    const stacks = folded.trim().split("\n");
    must(stacks.length > 0 && stacks.every((line) => line.includes(moved)), folded.slice(0, 300));
    await page.locator("[data-testid=export] summary").click();
  });
  await claim(`${where}: a bad expression is refused where it was typed`, async () => {
    await type("hide:/(/");
    await page.locator("[data-testid=filter-box] [role=alert]").waitFor();
    await page.keyboard.press("Escape");
    await page.locator("[data-testid=filter-box]").waitFor({ state: "detached" });
  });
  await claim(`${where}: filters leave no complaint behind`, () => quiet(tab));
  await tab.context.close();
}

async function tools(browser) {
  const { service, moved } = visit.sight;
  const tab = await open(browser, SCREENS[0]);
  const { page } = tab;
  const width = async (name) => Number(await frames(page, name).first().getAttribute("data-w"));
  await claim("a frame that is made faster is narrower at once, and so is its caller; the rest stays", async () => {
    await goto(page, `${service}&fn=${moved}&sel=function`);
    await page.locator("[data-testid=details-name]").waitFor();
    const before = await width(moved);
    await page.locator(".what-if button", { hasText: "10×" }).click();
    await page.locator("[data-testid=whatif]").waitFor();
    await page.waitForFunction(
      ([name, before]) => {
        const box = document.querySelector(`[data-testid=flame-mirror] li[data-name="${name}"]`);
        return box && Number(box.dataset.w) < before / 8;
      },
      [moved, before],
    );
    await page.locator("[data-testid=whatif] button").click();
  });
  await claim("the graph is saved as a picture", async () => {
    await page.locator("[data-testid=export] summary").click();
    const [download] = await Promise.all([page.waitForEvent("download"), page.locator("[data-format=png]").click()]);
    must(download.suggestedFilename() === "checkout-cpu.png", download.suggestedFilename());
    const chunks = [];
    for await (const chunk of await download.createReadStream()) chunks.push(chunk);
    const png = Buffer.concat(chunks);
    must(png.subarray(1, 4).toString() === "PNG" && png.readUInt32BE(16) === 3200, `${png.length} bytes, ${png.readUInt32BE(16)} px wide`);
    await page.locator("[data-testid=export] summary").click();
  });
  await claim("times are told in UTC or by this device's clock, and that is remembered", async () => {
    await page.locator("[data-testid=zone]").click();
    await page.locator("[data-testid=zone]", { hasText: "UTC" }).waitFor();
    const said = await page.locator("[data-testid=range-text]").innerText();
    const from = new Date(Number(new URL(visit.base + service).searchParams.get("from"))).toISOString().slice(11, 16);
    must(said.includes(from), `${said} does not begin at ${from}`);
    await page.reload();
    await page.locator("[data-testid=zone]", { hasText: "UTC" }).waitFor();
    await page.locator("[data-testid=zone]").click();
  });
  await claim("the page follows the time until it is paused", async () => {
    await goto(page, "/s/checkout?from=now-15m");
    await page.locator("[data-testid=live]").click();
    await page.locator("[data-testid=live][aria-pressed=true]").waitFor();
    must((await parameter(page, "live")) === "1", "it is not in the link");
    await page.waitForRequest(/api\/v1\/flamegraph/, { timeout: 15_000 });
    await page.locator("[data-testid=live]").click();
    await page.locator("[data-testid=live][aria-pressed=false]").waitFor();
  });
  await claim("a mark that is added on the page is on the timeline, and is no deploy", async () => {
    await goto(page, service);
    await page.locator("[data-testid=note] summary").click();
    await page.locator("[data-testid=note] [name=title]").fill("cache warmed <b>by hand</b>");
    const middle = Number(new URL(visit.base + service).searchParams.get("from")) + 60_000;
    await page.locator("[data-testid=note] [name=at]").fill(String(middle));
    await page.locator("[data-testid=note] [type=submit]").click();
    await page.locator(".tl-event.is-note", { hasText: "cache warmed <b>by h" }).waitFor();
  });
  await claim("two versions are compared in two clicks", async () => {
    await goto(page, `${service}&by=version`);
    await page.locator("[data-testid=split] [data-value=v1]").click();
    await page.locator("[data-testid=split] [data-value=v2]").click();
    await page.locator("[data-testid=name-a]", { hasText: "version=v1" }).waitFor();
    await page.locator("[data-testid=name-b]", { hasText: "version=v2" }).waitFor();
    await page.locator(`[data-testid=movers] li[data-name="${moved}"]`).waitFor();
  });
  await claim("a trace has an axis, and a function its requests", async () => {
    await goto(page, visit.sight.trace);
    const ticks = page.locator("[data-testid=trace-axis] .axis-tick");
    await ticks.first().waitFor();
    must((await ticks.count()) >= 2, `${await ticks.count()} ticks`);
    await goto(page, `${service}&fn=${visit.sight.own}&sel=function`);
    await page.locator("[data-testid=function-requests] summary").click();
    await page.locator("[data-testid=function-requests]").getByText(/in a request with a route|of its cost/).first().waitFor();
  });
  await claim("these tools leave no complaint behind", () => quiet(tab));
  await tab.context.close();
}

export async function hand(browser) {
  for (const options of SCREENS) await filters(browser, options);
  await tools(browser);
}
