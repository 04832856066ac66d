/** `cargo xtask dev` and `npm run mock`: the API's paths must leave the view's own modules alone, whatever they are called. */

import { createServer } from "vite";
import { expect, test } from "vitest";

/** Starting a server is work; a busy machine takes its time. */
const PATIENCE_MS = 120_000;

test.each(["collector", "mock"])(
  "the development server over a %s serves the view's own modules",
  async (over) => {
    if (over === "mock") process.env.TEPHRA_MOCK = "1";
    const server = await createServer({ configFile: "vite.config.ts", server: { port: 0 }, logLevel: "silent" });
    delete process.env.TEPHRA_MOCK;
    try {
      await server.listen();
      const base = server.resolvedUrls!.local[0]!;
      for (const module of ["main.tsx", "api/client.ts", "api/resource.ts"]) {
        const answer = await fetch(base + module);
        expect([module, answer.status]).toEqual([module, 200]);
      }
    } finally {
      await server.close();
    }
  },
  PATIENCE_MS,
);
