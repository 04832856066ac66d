/** Search with counts, matched share and steps; errors appear beside what was typed, nothing falls back silently. */
import { useEffect, useRef } from "preact/hooks";
import { setParams } from "../state/location";
import * as fmt from "../ui/format";
import { nextMatch } from "./keys";
import type { Model } from "./model";

export function SearchBox({ model, onJump }: { model: Model; onJump(node: number): void }) {
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
  const line = error ?? (found ? `${share} in ${fmt.plural(found.nodes.length, "match", "matches")}` : "");
  useEffect(() => {
    if (found) model.announce.value = line;
  }, [line]);
  const jump = (step: 1 | -1) => {
    const node = nextMatch(model, step);
    if (node >= 0) {
      model.select(node);
      onJump(node);
    }
  };
  return (
    <div class={`search${error ? " has-error" : ""}`} role="search">
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
