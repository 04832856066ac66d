/** Links that show others what is seen here, whenever they open them. */
import { here, href } from "./location";

/** This page's address, with its relative times replaced by `fixed`: "the last hour" is another one tomorrow. */
export function fixedLink(fixed: Readonly<Record<string, number>>): string {
  const { path, params, pinned } = here.peek();
  if (pinned !== null) return location.origin + pinned;
  const out = new URLSearchParams(params);
  for (const [name, at] of Object.entries(fixed)) out.set(name, String(Math.round(at)));
  return location.origin + href(path, out);
}
