/** What must be known before the graph is believed: few samples, missing symbols, pruned frames, parts without data. One line, that opens. */
import type { ComponentChildren } from "preact";
import type { FlameHeader, Side } from "../api/contract";
import type { Profile } from "../profile/tree";
import { setParams } from "../state/location";
import * as fmt from "../ui/format";
import { PartialNote } from "../ui/PartialNote";

/** Below this, percentages say more than the samples know. */
const SAMPLES_FEW = 500;
const COVERED_SHARE_OK = 0.97;
/** Unnamed cost that is worth a line, as a share. */
const UNNAMED_SHARE_MIN = 0.001;

interface Note {
  id: string;
  /** In a few words; */
  short: string;
  /** and all of it. */
  whole: ComponentChildren;
}

export function ProfileNotes({ profile }: { profile: Profile }) {
  const { header } = profile;
  const sides: [string, Side][] = header.b
    ? [
        ["A", header.a],
        ["B", header.b],
      ]
    : [["", header.a]];
  const cut = sides.filter(([, side]) => side.partial);
  const notes = [...sides.flatMap(([name, side]) => sideNotes(name, side, header)), ...symbolNotes(header)];
  if (notes.length === 0 && cut.length === 0) return null;
  return (
    <div class="notes" data-testid="notes">
      {cut.map(([name, side]) => (
        <PartialNote key={name} partial={side.partial} who={name === "" ? "" : `${name}: `} />
      ))}
      {notes.length > 0 ? (
        <details class="note">
          <summary>{notes.flatMap((note) => (note.short === "" ? [] : [note.short])).join(" · ")}</summary>
          {notes.map((note) => (
            <p key={note.id} data-testid={`note-${note.id.replace(/ .*$/, "")}`}>
              {note.whole}
            </p>
          ))}
        </details>
      ) : null}
    </div>
  );
}

function sideNotes(name: string, side: Side, header: FlameHeader): Note[] {
  const who = name === "" ? "" : `${name}: `;
  const notes: Note[] = [];
  if (side.total > 0 && side.samples < SAMPLES_FEW) {
    // Three standard errors of a count of n out of N samples, as a share.
    const noise = Math.min(1, 9 / Math.max(side.samples, 1));
    const count = fmt.plural(side.samples, "sample");
    notes.push({
      id: `few ${name}`,
      short: `${who}only ${count}`,
      whole: `${who}${count}: anything under ${fmt.percent(noise)} is noise.`,
    });
  }
  const { covered_from: from, covered_until: until } = side.partial ?? {
    covered_from: side.from,
    covered_until: side.until,
  };
  const asked = (until - from) / 1000;
  const covered = header.type.kind === "counter" && asked > 30 ? side.seconds / asked : 1;
  if (side.total > 0 && covered < COVERED_SHARE_OK) {
    const gap = `${who}${fmt.percent(1 - covered)} of this time has no data`;
    notes.push({ id: `partial ${name}`, short: gap, whole: `${gap}; values are per covered second.` });
  }
  return notes;
}

function symbolNotes(header: FlameHeader): Note[] {
  const { missing } = header.symbols;
  const share = 1 - header.symbols.share;
  // Less misleads nobody: a few samples in the kernel's own page, say.
  if (missing.length === 0 || share < UNNAMED_SHARE_MIN) return [];
  const short = `${fmt.percent(share)} of the cost has no symbols (${missing.map((m) => m.module).join(", ")})`;
  return missing.map((m, i) => ({
    id: `symbols ${m.build_id}`,
    short: i === 0 ? short : "",
    whole: (
      <>
        <b>{m.module}</b> <code>{m.build_id}</code> · {fmt.percent(m.share)}. {m.hint}
      </>
    ),
  }));
}

/** Said below the graph: it is nothing to worry about. */
export function PrunedNote({ header }: { header: FlameHeader }) {
  const { nodes, share } = header.pruned;
  if (nodes === 0) return null;
  return (
    <p class="quiet" data-testid="note-pruned">
      {fmt.plural(nodes, "frame")} too small to see {nodes === 1 ? "is" : "are"} merged ({fmt.percent(share)}); totals
      are exact.{" "}
      <button type="button" class="link" onClick={() => setParams({ full: "1" })}>
        Load every frame
      </button>
    </p>
  );
}
