/** Search with the matched share and a walk through the matches; errors appear beside what was typed, nothing falls back silently. */
import { useEffect, useRef } from "preact/hooks";
import { setParams } from "../state/location";
import * as fmt from "../ui/format";
import { nextMatch } from "./keys";
import type { Model } from "./model";
import { sought } from "./sight";

interface Props {
  model: Model;
  /** Moves the graph, and nothing else, so that a match is in it. */
  onLook(node: number): void;
}

/** While typing. */
const LOOK_AFTER_MS = 200;

export function SearchBox({ model, onLook }: Props) {
  const input = useRef<HTMLInputElement>(null);
  const query = model.query.value;
  const { error } = model.search.value;
  const found = model.matches.value;
  const tree = model.shown.value;
  useEffect(() => {
    // While typing the box owns its text; otherwise it follows the URL.
    if (document.activeElement !== input.current || query === "") input.current!.value = query;
  }, [query]);
  const share = found && tree.totalB[0]! > 0 ? fmt.percent(found.totalB / tree.totalB[0]!) : "0 %";
  const at = model.walkedTo.value;
  const line = error ?? (found ? `${share} ${at < 0 ? "in" : `· ${at + 1} of`} ${matchesWord(model, at)}` : "");
  useEffect(() => {
    if (found) model.announce.value = line;
  }, [line]);
  const jump = (step: 1 | -1) => {
    const node = nextMatch(model, step);
    if (node < 0) return;
    model.select(node);
    sought.value++;
  };
  useEffect(() => {
    // Greying everything says nothing while no match is in the pane.
    if (!found || document.activeElement !== input.current) return;
    const timer = setTimeout(() => {
      const { widest } = model.found.peek();
      if (widest >= 0 && model.matches.peek() === found) onLook(widest);
    }, LOOK_AFTER_MS);
    return () => clearTimeout(timer);
  }, [found]);
  return (
    <div class={`search${error ? " has-error" : ""}${query === "" ? "" : " is-on"}`} role="search">
      <input
        ref={input}
        type="search"
        placeholder="Search  /regex/  a, b"
        aria-label="Search functions"
        aria-invalid={error !== null}
        data-testid="search"
        spellcheck={false}
        autocomplete="off"
        onInput={(e) => setParams({ q: e.currentTarget.value }, { replace: true })}
        onKeyDown={(e) => {
          if (e.key === "Enter") jump(e.shiftKey ? -1 : 1);
          if (e.key === "Escape") {
            setParams({ q: null }, { replace: true });
            e.currentTarget.blur();
          }
        }}
      />
      {query !== "" ? (
        <span class="search-result" data-testid="search-result">
          {line}
        </span>
      ) : null}
      {found && found.nodes.length === 0 && model.hiddenMatches.value > 0 ? (
        <button type="button" class="link" data-testid="search-hidden" onClick={() => model.showFrameworks(true)}>
          {model.hiddenMatches.value} hidden
        </button>
      ) : null}
      {found && found.nodes.length > 0 ? (
        <>
          <button type="button" class="button icon" aria-label="Previous match" onClick={() => jump(-1)}>
            ‹
          </button>
          <button type="button" class="button icon" aria-label="Next match" onClick={() => jump(1)}>
            ›
          </button>
        </>
      ) : null}
    </div>
  );
}

function matchesWord(model: Model, at: number): string {
  const { count } = model.found.value;
  return at < 0 ? fmt.plural(count, "match", "matches") : fmt.count(count);
}
