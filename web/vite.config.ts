/** The build: sources in `view/`, output in `dist/` with a Brotli twin of every text file, nothing inline. */
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";
import type { Plugin } from "vite";
import { defineConfig, type ViteUserConfig } from "vitest/config";

const collector = process.env.TEPHRA_URL ?? "http://127.0.0.1:4040";
const mocked = process.env.TEPHRA_MOCK !== undefined;

export default defineConfig(
  async ({ mode }): Promise<ViteUserConfig> => ({
    root: "view",
    publicDir: "public",
    oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
    plugins: [mocked ? (await import("./mock/plugin.ts")).mockCollector() : null, flameWorker(), brotliTwins()],
    build: {
      outDir: mode === "bench" ? "../node_modules/.bench-dist" : "../dist",
      emptyOutDir: true,
      target: "es2022",
      // The first with light-dark(); older ones would get a polyfill twice the size.
      cssTarget: ["chrome123", "firefox120", "safari17.5"],
      modulePreload: { polyfill: false },
      // A data URL would need a hole in the content security policy.
      assetsInlineLimit: 0,
      rolldownOptions: mode === "bench" ? { input: ["view/index.html", "view/bench.html"] } : {},
    },
    server: mocked ? {} : { proxy: { "^/(api/v1/|alert\\.json|healthz|readyz|metrics)": collector } },
    // Random trees by the hundred are work; a busy machine takes its time.
    test: { root: ".", include: ["view-tests/**/*.test.ts"], testTimeout: 120_000 },
  }),
);

/**
 * `virtual:flame-worker` is the address of the worker. It is a chunk of the same build and no build of its own, as Vite's workers
 * are, so that page and worker share the engine's code.
 */
function flameWorker(): Plugin {
  const id = "virtual:flame-worker";
  let serving = true;
  return {
    name: "flame-worker",
    configResolved: (config) => {
      serving = config.command === "serve";
    },
    resolveId: (source) => (source === id ? `\0${id}` : null),
    load(source) {
      if (source !== `\0${id}`) return null;
      if (serving) return 'export default "/profile/worker.ts"';
      const chunk = this.emitFile({ type: "chunk", id: join(import.meta.dirname, "view/profile/worker.ts") });
      return `export default import.meta.ROLLUP_FILE_URL_${chunk}`;
    },
  };
}

/** Writes `<file>.br` beside each text file, at the highest quality: it is done once and served for ever. */
function brotliTwins(): Plugin {
  return {
    name: "brotli-twins",
    apply: "build",
    writeBundle(options) {
      for (const file of filesIn(options.dir!)) {
        if (!/\.(js|css|html|svg)$/.test(file)) continue;
        const text = readFileSync(file);
        const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: text.length };
        writeFileSync(`${file}.br`, brotliCompressSync(text, { params }));
      }
    },
  };
}

function filesIn(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesIn(path) : [path];
  });
}
