// Takes the pictures of the README: `cargo xtask screenshots` says of which pages, once its demo runs.
//
// node screenshots.mjs <order.json>: {"base", "chromium", "folder", "pictures": [{"name", "path", "theme", "width", "height"}]}.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const { chromium } = createRequire(new URL("../../web/package.json", import.meta.url))("playwright-core");
const order = JSON.parse(readFileSync(process.argv[2], "utf8"));
const args = ["--no-first-run", "--disable-dev-shm-usage", ...(process.getuid() === 0 ? ["--no-sandbox"] : [])];
const browser = await chromium.launch({ executablePath: order.chromium, args });
try {
  for (const { name, path, theme, width, height } of order.pictures) {
    const phone = width < 640;
    const page = await browser.newPage({
      viewport: { width, height },
      colorScheme: theme,
      deviceScaleFactor: phone ? 2 : 1,
      hasTouch: phone,
      isMobile: phone,
    });
    // What is drawn is told in a list: a picture without a graph is none.
    await page.addInitScript(() => {
      window.__tephraMirror = true;
    });
    await page.goto(order.base + path, { waitUntil: "networkidle" });
    await page.locator("[data-testid$=-mirror] li").first().waitFor({ state: "attached", timeout: 20_000 });
    await page.evaluate(() => document.fonts.ready);
    await page.screenshot({ path: join(order.folder, `${name}.png`) });
    console.log(`${name}.png: ${width} × ${height}, ${theme}, ${path}`);
    await page.close();
  }
} finally {
  await browser.close();
}
