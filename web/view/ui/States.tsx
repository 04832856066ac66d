/** Loading, empty and error: what happened, and the one thing that helps. */
import type { ComponentChildren } from "preact";
import type { ApiError } from "../api/client";

export function Loading({ what }: { what: string }) {
  return (
    <div class="state is-waiting" role="status" data-testid="loading">
      <div class="skeleton" aria-hidden="true">
        <span />
        <span />
        <span />
        <span />
      </div>
      <p class="quiet">{what}…</p>
    </div>
  );
}

export function Failure({ error, retry }: { error: ApiError; retry(): void }) {
  const curl = `curl '${location.origin}${error.path}'`;
  return (
    <div class="state is-error" role="alert" data-testid="error">
      <h2>{capital(error.message)}</h2>
      <p>{capital(error.hint)}</p>
      <div class="button-row">
        <button type="button" class="button primary" onClick={retry}>
          Retry
        </button>
        {error.status > 0 ? <span class="quiet num">HTTP {error.status}</span> : null}
      </div>
      <details>
        <summary>Ask by hand</summary>
        <pre>{curl}</pre>
      </details>
    </div>
  );
}

export function Empty({
  title,
  children,
  testId = "empty",
  page,
}: {
  title: string;
  /** All that there is on the page. */
  page?: boolean;
  children?: ComponentChildren;
  testId?: string;
}) {
  return (
    <div class="state" data-testid={testId}>
      {page ? <h1>{title}</h1> : <h2>{title}</h2>}
      {children}
    </div>
  );
}

/** A thin line at the top of what is being refreshed. */
export function Progress({ on }: { on: boolean }) {
  return <div class={`progress${on ? " is-on" : ""}`} aria-hidden="true" />;
}

export function capital(text: string): string {
  return text === "" ? "" : text[0]!.toUpperCase() + text.slice(1);
}
