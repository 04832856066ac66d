/** `npm run bench`: builds, opens the pages in Chromium and prints JSON `[{name, value, unit, goal, met}]`. */
import { readdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { build, preview } from "vite";

const root = fileURLToPath(new URL("..", import.meta.url));
const VIEWPORT = { width: 1920, height: 960 };
/** Each figure is the median of this many runs in fresh pages. */
const RUNS = 5;

process.chdir(root);
process.env.TEPHRA_MOCK = "1";
await build({ logLevel: "error" });
await build({ logLevel: "error", mode: "bench" });

const server = await preview({
  mode: "bench",
  logLevel: "error",
  preview: { host: "127.0.0.1", port: 0, open: false },
});
const address = server.httpServer.address();
const base = `http://127.0.0.1:${address.port}`;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
});

const results = [];
const record = (name, value, unit, goal) =>
  results.push({ name, value: Math.round(value * 100) / 100, unit, goal, met: value <= goal });
try {
  const frames = await medianOf(
    (page) => page.evaluate(() => window.bench.frames(1_000_000)),
    (r) => r.p95,
  );
  record("web: 1 M nodes, frame p95 (zoom and pan)", frames.p95, "ms", 16);
  const small = await medianOf(
    (page) => page.evaluate(() => window.bench.frames(100_000)),
    (r) => r.p95,
  );
  record("web: 100 k nodes, frame p95 (zoom and pan)", small.p95, "ms", 8);
  record(
    "web: 200 k nodes, bytes in to first flame",
    await medianOf((page) => page.evaluate(() => window.bench.firstFlame(200_000))),
    "ms",
    150,
  );
  const engine = await medianOf(
    (page) => page.evaluate(() => window.bench.engine(1_000_000)),
    (r) => r.search,
  );
  record("web: 1 M nodes, search", engine.search, "ms", 50);
  record("web: 1 M nodes, function table", engine.table, "ms", 50);
  const real = await medianOfPages(realPage, (r) => r.flame);
  record("web: a page of 200 k nodes, bytes in to first flame", real.flame, "ms", 150);
  record("web: a page of 200 k nodes, longest task once it is drawn", real.task, "ms", 50);
  record("web: a page of 200 k nodes, bottom-up seen", real.bottomUp, "ms", 100);
  record("web: JS and CSS, brotli", shipped(), "bytes", 75_000);
} finally {
  await browser.close();
  await server.close();
}
process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
// Vite's preview keeps sockets open for a while.
process.exit(0);

async function medianOf(measure, key = (v) => v) {
  const values = [];
  for (let k = 0; k < RUNS; k++) {
    const page = await browser.newPage({ viewport: VIEWPORT });
    await page.goto(`${base}/bench.html`);
    await page.waitForFunction(() => window.bench !== undefined);
    values.push(await measure(page));
    await page.close();
  }
  return values.sort((x, y) => key(x) - key(y))[Math.floor(RUNS / 2)];
}

/** The service's page itself, with the largest profile that is sent; worked with as people do. */
async function realPage(page) {
  await page.addInitScript(() => {
    window.__tasks = [];
    new PerformanceObserver((list) => window.__tasks.push(...list.getEntries())).observe({
      type: "longtask",
      buffered: true,
    });
  });
  await page.goto(`${base}/s/large`);
  await page.waitForFunction(() => performance.getEntriesByName("flame").length > 0);
  const flame = await page.evaluate(() => {
    const [drawn] = performance.getEntriesByName("flame");
    const answers = performance.getEntriesByType("resource").filter((r) => r.name.includes("/api/v1/flamegraph"));
    return drawn.startTime - answers.at(-1).responseEnd;
  });
  await page.waitForTimeout(1000);
  const settled = await page.evaluate(() => performance.now());
  const graph = page.locator("[data-testid=flame]");
  const box = await graph.boundingBox();
  for (let k = 0; k < 12; k++) await page.mouse.move(box.x + 40 + k * 90, box.y + 40 + k * 12);
  for (let k = 0; k < 6; k++) await page.mouse.wheel(0, 120);
  await page.mouse.click(box.x + 300, box.y + 120);
  await page.locator("[data-testid=search]").pressSequentially("function_12");
  await page.keyboard.press("Escape");
  const before = await page.evaluate(() => {
    window.__asked = 0;
    document
      .querySelector("[data-testid=tab-bottomup]")
      .addEventListener("click", () => (window.__asked = performance.now()), true);
    return performance.getEntriesByName("flame").length;
  });
  await page.locator("[data-testid=tab-bottomup]").click();
  await page.waitForFunction((before) => performance.getEntriesByName("flame").length > before, before);
  for (const view of ["sandwich", "tree", "table", "flame"]) await tab(page, view);
  await page.locator("[data-testid=frameworks] button").click();
  await page.locator("button[data-testid=frameworks]").waitFor();
  await page.keyboard.press("F");
  await page.locator("[data-testid=filter-box] input").fill("keep:function_777");
  await page.keyboard.press("Enter");
  await page.locator("[data-filter]").waitFor();
  await page.waitForTimeout(500);
  return page.evaluate(
    ([flame, settled]) => ({
      flame,
      bottomUp: performance.getEntriesByName("flame").at(-1).startTime - window.__asked,
      task: Math.max(0, ...window.__tasks.filter((t) => t.startTime > settled).map((t) => t.duration)),
    }),
    [flame, settled],
  );
}

async function tab(page, view) {
  await page.locator(`[data-testid=tab-${view}]`).click();
  await page.locator(`[data-testid=tab-${view}][aria-selected=true]`).waitFor();
  await page.waitForTimeout(300);
}

async function medianOfPages(measure, key) {
  const values = [];
  for (let k = 0; k < RUNS; k++) {
    const page = await browser.newPage({ viewport: VIEWPORT });
    values.push(await measure(page));
    await page.close();
  }
  return values.sort((x, y) => key(x) - key(y))[Math.floor(RUNS / 2)];
}

function shipped() {
  const folder = `${root}dist/assets/`;
  return readdirSync(folder)
    .filter((f) => /\.(js|css)\.br$/.test(f))
    .reduce((sum, f) => sum + statSync(folder + f).size, 0);
}
