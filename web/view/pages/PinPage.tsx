/** `/p/{pin}`: shows the pinned view under its own address; says what is wrong if that fails. */
import { useEffect } from "preact/hooks";
import { getJson } from "../api/client";
import type { Pin } from "../api/contract";
import { useResource } from "../api/resource";
import { showPinned } from "../state/location";
import { Shell } from "../ui/Shell";
import { Failure, Loading } from "../ui/States";

export function PinPage({ id }: { id: string }) {
  const pin = useResource(`/api/v1/pins/${encodeURIComponent(id)}`, (path, signal) => getJson<Pin>(path, signal), id);
  const { value, error } = pin.state.value;
  useEffect(() => {
    // Only paths of this view: a pin is data, and data must not lead elsewhere.
    if (value && /^\/(?!\/)/.test(value.url) && !value.url.startsWith("/p/")) showPinned(withNote(value));
  }, [value]);
  return (
    <Shell title="Pinned view" narrow>
      {error ? <Failure error={error} retry={pin.retry} page /> : <Loading what="Opening the pinned view" page />}
    </Shell>
  );
}

function withNote(pin: Pin): string {
  const url = new URL(pin.url, location.origin);
  if (pin.note) url.searchParams.set("note", pin.note);
  if (pin.expires) url.searchParams.set("kept", String(pin.expires));
  return url.pathname + url.search;
}
