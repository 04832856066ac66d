/** A route that leads to what is sampled in its requests. */
import { setParams } from "../state/location";

export function RouteButton({ route }: { route: string }) {
  if (route === "") return <span class="quiet">no route</span>;
  return (
    <button
      type="button"
      class="link"
      title="What is sampled in these requests"
      onClick={() => setParams({ "label.route": route, z: null })}
    >
      {route}
    </button>
  );
}
