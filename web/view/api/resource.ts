/** A value fetched for a key: the previous one stays visible while the next is under way, and stale answers are dropped. */
import { type ReadonlySignal, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { ApiError } from "./client";

export interface Resource<T> {
  readonly value: T | null;
  readonly error: ApiError | null;
  readonly loading: boolean;
}

export interface Handle<T> {
  readonly state: ReadonlySignal<Resource<T>>;
  readonly retry: () => void;
}

const IDLE: Resource<never> = { value: null, error: null, loading: false };

/** Fetches whenever `key` changes. A null key fetches nothing. Falling back to another page's value is prevented by `scope`. */
export function useResource<T>(
  key: string | null,
  fetcher: (key: string, signal: AbortSignal) => Promise<T>,
  scope = "",
): Handle<T> {
  const cell = useMemo(() => ({ state: signal<Resource<T>>(IDLE), round: signal(0) }), [scope]);
  const round = cell.round.value;
  useEffect(() => {
    if (key === null) {
      cell.state.value = IDLE;
      return;
    }
    const abort = new AbortController();
    cell.state.value = { ...cell.state.peek(), error: null, loading: true };
    fetcher(key, abort.signal).then(
      (value) => {
        if (!abort.signal.aborted) cell.state.value = { value, error: null, loading: false };
      },
      (cause: unknown) => {
        if (abort.signal.aborted) return;
        const error =
          cause instanceof ApiError
            ? cause
            : new ApiError(
                0,
                "broken",
                cause instanceof Error ? cause.message : String(cause),
                "Reload the page.",
                key,
              );
        cell.state.value = { value: cell.state.peek().value, error, loading: false };
      },
    );
    return () => abort.abort();
  }, [key, round, cell]);
  return { state: cell.state, retry: () => void cell.round.value++ };
}
