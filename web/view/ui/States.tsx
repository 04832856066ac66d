/** Loading, empty and error: what happened, and the one thing that helps. */
import type { ComponentChildren } from "preact";
import type { ApiError } from "../api/client";

export function Loading({ what, page }: { what: string; page?: boolean }) {
  return (
    <div class="state is-waiting" role="status" data-testid="loading">
      <div class="skeleton" aria-hidden="true">
        <span />
        <span />
        <span />
        <span />
      </div>
      {page ? <h1 class="quiet">{what}…</h1> : <p class="quiet">{what}…</p>}
    </div>
  );
}

interface Failed {
  error: ApiError;
  retry(): void;
  /** All that there is on the page. */
  page?: boolean;
}

export function Failure({ error, retry, page }: Failed) {
  const curl = `curl '${location.origin}${error.path}'`;
  return (
    <div class="state is-error" role="alert" data-testid="error">
      <Title page={page}>{capital(error.message)}</Title>
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

function Title({ page, children }: { page?: boolean; children: ComponentChildren }) {
  return page ? <h1>{children}</h1> : <h2>{children}</h2>;
}

/** A failure in one line, where a part of the page is missing. */
export function FailureLine({ error, retry }: Failed) {
  return (
    <p class="field-error" role="alert">
      {capital(error.message)}. {capital(error.hint).replace(/\.?$/, ".")}{" "}
      <button type="button" class="link" onClick={retry}>
        Retry
      </button>
    </p>
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
      <Title page={page}>{title}</Title>
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
