/** A stand-in for the collector, for working on the view alone: `npm run mock`. Answers as `collector/API.md` says. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Plugin } from "vite";
import { answerFor } from "./answers.ts";

/** What the collector sends with every page, so that a violation shows up here first. */
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

export function mockCollector(): Plugin {
  const handle = (strict: boolean) => (req: IncomingMessage, res: ServerResponse, next: () => void) => {
    const url = new URL(req.url ?? "/", "http://mock");
    const answer = answerFor(req.method ?? "GET", url);
    if (answer) {
      res.statusCode = answer.status;
      res.setHeader("content-type", answer.type);
      res.end(typeof answer.body === "string" ? answer.body : Buffer.from(answer.body));
      return;
    }
    if (strict) res.setHeader("content-security-policy", CSP);
    next();
  };
  return {
    name: "mock-collector",
    configureServer(server) {
      server.middlewares.use(handle(false));
    },
    configurePreviewServer(server) {
      server.middlewares.use(handle(true));
    },
  };
}
