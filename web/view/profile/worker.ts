/** The worker that reads large profiles and makes views of them, so that the page answers meanwhile. */
import { FlameError } from "./decode";
import { copied, type Delivery, Kitchen, type Parcel } from "./parcel";
import type { Recipe } from "./recipe";

/** A profile to read, and how it will be looked at; or without bytes, another look at the last one. */
export interface Request {
  id: number;
  /** The request that brought the profile. */
  of: number;
  bytes?: ArrayBuffer;
  recipe: Recipe;
}

export type Reply =
  | "ready"
  | { id: number; parcel?: Parcel; delivery: Delivery }
  /** `refused`: the bytes are no profile. */
  | { id: number; error: string; refused: boolean };

const page = self as unknown as { postMessage(reply: Reply, transfer?: Transferable[]): void };

/** The last profile: of others nobody will ask any more. */
let last: { of: number; kitchen: Kitchen } | null = null;

addEventListener("message", ({ data: { id, of, bytes, recipe } }: MessageEvent<Request>) => {
  try {
    if (bytes) last = { of, kitchen: new Kitchen(bytes) };
    if (last?.of !== of) throw new Error("another profile came since");
    const { kitchen } = last;
    const delivery = kitchen.cook(recipe);
    const { copy, transfer } = copied({ id, ...(bytes ? { parcel: kitchen.parcel() } : {}), delivery });
    page.postMessage(copy, transfer);
  } catch (cause) {
    page.postMessage({ id, error: String((cause as Error).message), refused: cause instanceof FlameError });
  }
});
page.postMessage("ready");
