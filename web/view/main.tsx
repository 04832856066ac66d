/** Starts the view: theme, navigation, and the page that the path names. */
import { render } from "preact";
import { AlertPage } from "./pages/AlertPage";
import { DiffPage } from "./pages/DiffPage";
import { GrowthPage } from "./pages/GrowthPage";
import { Overview } from "./pages/Overview";
import { PinPage } from "./pages/PinPage";
import { SamplePage } from "./pages/SamplePage";
import { ServicePage } from "./pages/ServicePage";
import { StatusPage } from "./pages/StatusPage";
import { TracePage } from "./pages/TracePage";
import { here, watchNavigation } from "./state/location";
import { watchScreen } from "./state/screen";
import { watchTheme } from "./state/theme";
import { watchZone } from "./state/zone";
import "./styles/index.css";
import { copyWholeNames } from "./ui/Name";
import { Shell } from "./ui/Shell";
import { Empty } from "./ui/States";

function App() {
  const { path } = here.value;
  const [, first, rest] = /^\/([^/]*)(?:\/(.+))?$/.exec(path) ?? [];
  const name = rest === undefined ? "" : safeDecode(rest);
  if (first === "") return here.value.params.has("sample") ? <SamplePage /> : <Overview />;
  if (first === "s" && name !== "") return <ServicePage key={name} service={name} />;
  if (first === "diff") return <DiffPage />;
  if (first === "growth") return <GrowthPage />;
  if (first === "trace" && name !== "") return <TracePage key={name} id={name} />;
  if (first === "alert") return <AlertPage />;
  if (first === "p" && name !== "") return <PinPage key={name} id={name} />;
  if (first === "status") return <StatusPage />;
  return (
    <Shell title="Not found" narrow>
      <Empty title="There is no such page" testId="no-page" page>
        <p>
          Nothing is at <code>{path}</code>. Pages are <a href="/">all services</a>, a service at{" "}
          <code>/s/its-name</code>, <a href="/diff">comparisons</a> and the <a href="/status">status</a>; the API is
          below <code>/api/v1</code>.
        </p>
      </Empty>
    </Shell>
  );
}

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

watchScreen();
watchTheme();
watchZone();
copyWholeNames();
watchNavigation();
render(<App />, document.getElementById("app")!);
