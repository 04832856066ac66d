/** The worker that reads large profiles, so that the page answers meanwhile. Requests are bytes; answers are in [`Reply`]. */
import { FlameError } from "./decode";
import { type Packed, type Parcel, pack } from "./parcel";
import type { Tree } from "./tree";

/** Bytes to read; or without any, that the profile is drawn, and there is time to turn it bottom-up. */
export interface Request {
  id: number;
  bytes?: ArrayBuffer;
}

export type Reply =
  | "ready"
  | { id: number; parcel: Parcel }
  | { id: number; bottomUp: Tree }
  /** `refused`: the bytes are no profile. */
  | { id: number; error: string; refused: boolean };

const page = self as unknown as { postMessage(reply: Reply, transfer?: Transferable[]): void };

/** The last profile, until it is turned: of others nobody will ask any more. */
let last: { id: number; bottomUp: Packed["bottomUp"] } | null = null;

addEventListener("message", ({ data: { id, bytes } }: MessageEvent<Request>) => {
  try {
    if (bytes) {
      const { parcel, transfer, bottomUp } = pack(bytes);
      last = { id, bottomUp };
      page.postMessage({ id, parcel }, transfer);
    } else if (last?.id === id) {
      const { tree, transfer } = last.bottomUp();
      last = null;
      page.postMessage({ id, bottomUp: tree }, transfer);
    }
  } catch (cause) {
    page.postMessage({ id, error: String((cause as Error).message), refused: cause instanceof FlameError });
  }
});
page.postMessage("ready");
