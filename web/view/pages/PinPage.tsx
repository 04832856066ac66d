/** `/p/{pin}`: opens the pinned view; says who keeps it and until when if that fails. */
import { useEffect } from "preact/hooks";
import { getJson } from "../api/client";
import type { Pin } from "../api/contract";
import { useResource } from "../api/resource";
import { go } from "../state/location";
import { Shell } from "../ui/Shell";
import { Failure, Loading } from "../ui/States";

export function PinPage({ id }: { id: string }) {
  const pin = useResource(`/api/v1/pins/${encodeURIComponent(id)}`, (path, signal) => getJson<Pin>(path, signal), id);
  const { value, error } = pin.state.value;
  useEffect(() => {
    // Only paths of this view: a pin is data, and data must not lead elsewhere.
    if (value && /^\/(?!\/)/.test(value.url) && !value.url.startsWith("/p/")) go(withNote(value), { replace: true });
  }, [value]);
  return (
    <Shell title="Pinned view" narrow>
      {error ? <Failure error={error} retry={pin.retry} /> : <Loading what="Opening the pinned view" />}
    </Shell>
  );
}

function withNote(pin: Pin): string {
  return pin.note ? `${pin.url}${pin.url.includes("?") ? "&" : "?"}note=${encodeURIComponent(pin.note)}` : pin.url;
}
