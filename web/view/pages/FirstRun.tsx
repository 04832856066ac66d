/** Nothing has arrived yet: the lines to add, with this server's address, and a live sign that we are listening. */
import { copy } from "../ui/toast";

export function FirstRun() {
  const origin = location.origin;
  return (
    <section class="first-run" data-testid="first-run">
      <h1>Waiting for the first profile</h1>
      <p class="lead">
        <span class="pulse" aria-hidden="true" /> Listening on <code>{origin}</code>. This page opens by itself when a
        service reports; that takes about ten seconds after it starts.
      </p>
      <ol class="steps">
        <li>
          <h2>Add the agent</h2>
          <Snippet text={"cargo add tephra-agent"} />
        </li>
        <li>
          <h2>Start it in your service</h2>
          <Snippet
            text={`#[global_allocator]
static ALLOC: tephra_agent::ProfAlloc = tephra_agent::ProfAlloc::system();

let _agent = tephra_agent::Agent::builder("my-service")
    .endpoint("${origin}")
    .start()?;`}
          />
          <p class="quiet">CPU and heap are on from here. A stock release build is enough for function names.</p>
        </li>
        <li>
          <h2>Optional: put the trace on every sample</h2>
          <Snippet
            text={`tracing_subscriber::registry().with(tephra_agent::tracing_layer()).init();
let app = axum::Router::new().layer(tephra_agent::tower_layer());`}
          />
        </li>
      </ol>
      <p>
        <a class="button" href="/?sample=1" data-testid="try-sample">
          Try the view with a sample profile
        </a>
      </p>
      <p class="quiet">
        Have a pprof file at hand?{" "}
        <code>curl --data-binary @cpu.pb.gz '{origin}/api/v1/profiles?service=my-service'</code>
      </p>
    </section>
  );
}

function Snippet({ text }: { text: string }) {
  return (
    <div class="snippet">
      <pre>{text}</pre>
      <button
        type="button"
        class="button small"
        onClick={() => {
          copy(text, "Snippet");
        }}
      >
        Copy
      </button>
    </div>
  );
}
