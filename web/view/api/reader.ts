/** Reads profiles: small ones at once, large ones in a worker. Without workers everything is read here, and the page waits. */
import workerUrl from "virtual:flame-worker";
import { decodeFlame, FlameError } from "../profile/decode";
import { addBottomUp, unpack } from "../profile/parcel";
import type { Profile } from "../profile/tree";
import type { Reply, Request } from "../profile/worker";

/** Below it, reading takes less time than a frame. */
const APART_FROM_BYTES = 128 * 1024;

interface Waiting {
  done(profile: Profile): void;
  failed(cause: Error): void;
}

const waiting = new Map<number, Waiting>();
/** The last profile that came: of others it does not matter what they are bottom-up. */
let last: { id: number; profile: Profile } | null = null;
let asked = 0;
/** The worker once it runs; null where there is none to be had. */
let started: Promise<Worker | null> | null = null;

/** Starts the worker, so that it is there when the answer is. */
export function readSoon(): Promise<Worker | null> {
  started ??= typeof Worker === "undefined" ? Promise.resolve(null) : start();
  return started;
}

/** Decodes `application/vnd.tephra.flame`. Fails with [`FlameError`] for what is none. */
export async function readFlame(bytes: ArrayBuffer): Promise<Profile> {
  if (bytes.byteLength < APART_FROM_BYTES) return decodeFlame(bytes);
  const worker = await readSoon();
  if (!worker) return decodeFlame(bytes);
  return new Promise((done, failed) => {
    const id = asked++;
    waiting.set(id, { done, failed });
    worker.postMessage({ id, bytes } satisfies Request, [bytes]);
  });
}

function start(): Promise<Worker | null> {
  return new Promise((resolve) => {
    try {
      const worker = new Worker(trusted(workerUrl), { type: "module" });
      worker.addEventListener("error", () => {
        // It could not be loaded, or ran out of memory: from now on without it.
        resolve(null);
        started = Promise.resolve(null);
        for (const { failed } of waiting.values()) failed(new Error("the profile could not be read"));
        waiting.clear();
      });
      worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => {
        if (data === "ready") resolve(worker);
        else take(worker, data);
      });
    } catch {
      resolve(null);
    }
  });
}

function take(worker: Worker, reply: Exclude<Reply, "ready">): void {
  const { id } = reply;
  if ("bottomUp" in reply) {
    if (last?.id !== id) return;
    addBottomUp(last.profile, reply.bottomUp);
    last = null;
    return;
  }
  const one = waiting.get(id);
  waiting.delete(id);
  if ("error" in reply) one?.failed(reply.refused ? new FlameError(reply.error) : new Error(reply.error));
  else if (one) {
    const profile = unpack(reply.parcel);
    last = { id, profile };
    // Taking it in and drawing it are two tasks, between which the page can answer.
    setTimeout(() => one.done(profile));
    whenIdle(() => worker.postMessage({ id } satisfies Request));
  }
}

/** After what is waited for is drawn: it must not share a small machine with work for later. */
function whenIdle(work: () => void): void {
  if (typeof requestIdleCallback === "function") requestIdleCallback(work, { timeout: LATEST_MS });
  else setTimeout(work, LATEST_MS);
}

const LATEST_MS = 1000;

interface Policies {
  createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): string };
}

/** The pages' content policy lets no text become a script's address unless it says where it is from: here, from the build. */
function trusted(url: string): string {
  const policies = (globalThis as { trustedTypes?: Policies }).trustedTypes;
  return policies ? policies.createPolicy("tephra-worker", { createScriptURL: (u) => u }).createScriptURL(url) : url;
}
