/** Asks the collector. Every failure becomes an [`ApiError`] that says what failed, what to do, and how to repeat it. */
import { FlameError } from "../profile/decode";
import type { Profile } from "../profile/tree";
import { readFlame, readSoon } from "./reader";

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string,
    /** The path that was asked, for `curl`. */
    readonly path: string,
  ) {
    super(message);
  }
}

export type Query = Record<string, string | number | readonly string[] | null | undefined>;

/** `path` with the parameters that have a value. */
export function apiPath(path: string, query: Query): string {
  const params = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) {
    if (value === null || value === undefined || value === "") continue;
    if (typeof value === "object") for (const v of value) params.append(key, v);
    else params.set(key, String(value));
  }
  const text = params.toString();
  return text === "" ? path : `${path}?${text}`;
}

export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  const answer = await ask(path, { signal });
  try {
    return (await answer.json()) as T;
  } catch {
    throw new ApiError(
      answer.status,
      "not_json",
      "the answer is not JSON",
      "Is this address a tephra collector?",
      path,
    );
  }
}

export async function postJson<T>(path: string, body: unknown): Promise<T> {
  const answer = await ask(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return (await answer.json()) as T;
}

export async function getFlame(path: string, signal?: AbortSignal): Promise<Profile> {
  void readSoon();
  const answer = await ask(path, { signal, headers: { accept: "application/vnd.tephra.flame" } });
  const bytes = await answer.arrayBuffer();
  try {
    return await readFlame(bytes);
  } catch (cause) {
    if (!(cause instanceof FlameError)) throw cause;
    throw new ApiError(
      answer.status,
      "bad_flame",
      cause.message,
      "Reload the page; the collector may have been upgraded.",
      path,
    );
  }
}

async function ask(path: string, init: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, init);
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === "AbortError") throw cause;
    throw new ApiError(
      0,
      "unreachable",
      "the collector does not answer",
      "Check that `tephra serve` runs, then retry.",
      path,
    );
  }
  if (answer.ok) return answer;
  const body = (await answer.json().catch(() => null)) as { code?: string; message?: string; hint?: string } | null;
  throw new ApiError(
    answer.status,
    body?.code ?? String(answer.status),
    body?.message ?? `the collector answered ${answer.status}`,
    body?.hint ?? "Retry; if it stays, look at the collector's log.",
    path,
  );
}
