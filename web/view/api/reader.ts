/** Reads profiles: small ones at once, large ones in a worker, which also makes their views. Without workers all is done here, and the page waits. */
import workerUrl from "virtual:flame-worker";
import { decodeFlame, FlameError } from "../profile/decode";
import { Pantry } from "../profile/parcel";
import { PLAIN, type Recipe } from "../profile/recipe";
import type { Profile } from "../profile/tree";
import type { Reply, Request } from "../profile/worker";

/** Below it, reading takes less time than a frame. */
const APART_FROM_BYTES = 128 * 1024;

type Done = Exclude<Reply, "ready" | { error: string }>;

interface Waiting {
  done(reply: Done): void;
  failed(cause: Error): void;
}

const waiting = new Map<number, Waiting>();
/** The last profile that came from the worker: of others it makes no more views. */
let last: { of: number; pantry: Pantry; made: Set<string> } | null = null;
let asked = 0;
/** The worker once it runs; null where there is none to be had. */
let started: Promise<Worker | null> | null = null;

/** How the page will look at what it asked for. */
export const lookingAt: { current: () => Recipe } = { current: () => PLAIN };

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
  const recipe = lookingAt.current();
  const of = asked;
  const { parcel, delivery } = await ask(worker, { of, bytes, recipe }, [bytes]);
  const pantry = new Pantry(parcel!);
  pantry.take(delivery);
  last = { of, pantry, made: new Set([JSON.stringify(recipe)]) };
  const { profile } = pantry;
  // After what is waited for is drawn: it must not share a small machine with work for later.
  whenIdle(() => void prepare(profile, { ...lookingAt.current(), view: "bottomup" }));
  // Taking it in and drawing it are two tasks, between which the page can answer.
  await new Promise((done) => setTimeout(done));
  return profile;
}

/** Is nothing to be waited for before `recipe`, as text, is followed? */
export function prepared(profile: Profile, recipe: string): boolean {
  return last?.pantry.profile !== profile || last.made.has(recipe);
}

/** Has made apart from the page what `recipe` makes. */
export async function prepare(profile: Profile, recipe: Recipe): Promise<void> {
  const mine = last;
  const key = JSON.stringify(recipe);
  const worker = await started;
  if (!mine || prepared(profile, key)) return;
  if (worker && last === mine)
    // What cannot be made there is made here.
    await ask(worker, { of: mine.of, recipe }).then(
      ({ delivery }) => {
        if (delivery.afresh) mine.made.clear();
        mine.pantry.take(delivery);
      },
      () => undefined,
    );
  mine.made.add(key);
}

function ask(worker: Worker, request: Omit<Request, "id">, transfer: Transferable[] = []): Promise<Done> {
  const id = asked++;
  worker.postMessage({ id, ...request } satisfies Request, transfer);
  return new Promise((done, failed) => waiting.set(id, { done, failed }));
}

function start(): Promise<Worker | null> {
  return new Promise((resolve) => {
    try {
      const worker = new Worker(trusted(workerUrl), { type: "module" });
      worker.addEventListener("error", () => {
        // It could not be loaded, or ran out of memory: from now on without it.
        resolve(null);
        started = Promise.resolve(null);
        last = null;
        for (const { failed } of waiting.values()) failed(new Error("the profile could not be read"));
        waiting.clear();
      });
      worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => {
        if (data === "ready") {
          resolve(worker);
          return;
        }
        const one = waiting.get(data.id);
        waiting.delete(data.id);
        if ("error" in data) one?.failed(data.refused ? new FlameError(data.error) : new Error(data.error));
        else one?.done(data);
      });
    } catch {
      resolve(null);
    }
  });
}

/** Once the page has nothing to do. */
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
