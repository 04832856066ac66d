/**
 * Function names as people say them: `<shop::tax::TaxRules as shop::tax::TaxOffice>::rate_for` is `TaxRules::rate_for`.
 *
 * The last two parts that mean something: no hashes, type arguments, closures or trait of an implementation. For reading only: the
 * whole name is what is searched, copied and compared.
 */

/** The name as it is said. Never empty for a name that is not. */
export function plainName(name: string): string {
  const bare = name.replace(/::h[0-9a-f]{16}$/, "");
  if (!bare.includes("::")) return plainOfOthers(bare);
  const parts = partsOf(bare);
  return parts.length === 0 ? bare : parts.slice(-2).join("::");
}

/** What is left of a plain name where there is no room for both of its parts: the last, unless that says nothing by itself. */
export function lastPart(plain: string): string {
  const last = plain.slice(plain.lastIndexOf("::") + 2);
  return plain.includes("::") && last.length >= LAST_MIN ? last : plain;
}

/** Shorter words are `of`, `new`, `get`, `run`, `poll`. */
const LAST_MIN = 5;

/** The meaningful parts of a path; none if its brackets do not match. */
function partsOf(path: string): string[] {
  const segments = splitOutside(path, "::");
  if (!segments) return [];
  const parts: string[] = [];
  segments.forEach((segment, i) => {
    const part = segment.startsWith("<") ? ownerOf(segment, i === 0) : withoutArguments(segment);
    if (part !== "") parts.push(part);
  });
  return parts;
}

/** `<A as B>` and `<impl B for A>` are `A`, or `B` where `A` is only a type parameter. A turbofish is nothing. */
function ownerOf(segment: string, first: boolean): string {
  const close = segment.lastIndexOf(">");
  const inner = segment.slice(1, close);
  const rest = withoutArguments(segment.slice(close + 1));
  const isImpl = inner.startsWith("impl ");
  if (!first && !isImpl) return rest;
  const [left, right] = isImpl
    ? ((splitOutside(inner.slice(5), " for ") ?? []).reverse() as [string?, string?])
    : ((splitOutside(inner, " as ") ?? []) as [string?, string?]);
  return typeName(left ?? "") || typeName(right ?? "") || rest;
}

/** `&mut alloc::vec::Vec<T>` is `Vec`; a type parameter, a tuple or a function pointer has no name. */
function typeName(type: string): string {
  const bare = type.trim().replace(/^(?:&|\*|'\w+ |mut |const |dyn )+/, "");
  if (/^\[.*\]$/.test(bare)) return bare;
  if (/^(?:unsafe |extern \S+ )*fn\(/.test(bare)) return "";
  const named = splitOutside(bare, " + ")?.[0] ?? "";
  const name = partsOf(named).at(-1) ?? "";
  return /^(?:[A-Z][A-Z0-9]?|_|)$|[(\s]/.test(name) ? "" : name;
}

/** `RawVec<T,A>` → `RawVec`, `f(int)` → `f`, `call_once{{vtable.shim}}` → `call_once`, `{{closure}}` → nothing. */
function withoutArguments(segment: string): string {
  if (/^operator\W/.test(segment)) return segment;
  return segment.replace(/[<({].*$/s, "").trimEnd();
}

/** Splits where `separator` stands outside all brackets; null if these do not match. */
function splitOutside(text: string, separator: string): string[] | null {
  const out: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (c === "<" || c === "(" || c === "[" || c === "{") depth++;
    else if (c === ")" || c === "]" || c === "}" || (c === ">" && text[i - 1] !== "-")) depth--;
    else if (depth === 0 && text.startsWith(separator, i)) {
      out.push(text.slice(start, i));
      start = i + separator.length;
      i = start - 1;
    }
    if (depth < 0) return null;
  }
  if (depth !== 0) return null;
  out.push(text.slice(start));
  return out;
}

/** Go's packages lose their path, Java's classes their package, C's functions their arguments. */
function plainOfOthers(name: string): string {
  if (/^[\w.~-]+\/\S*\.\S+$/.test(name)) return name.slice(name.replace(/\[.*$/, "").lastIndexOf("/") + 1);
  const java = /^(?:[\w$]+\.)+([A-Z][\w$]*\.[\w$<>]+)$/.exec(name);
  if (java) return java[1]!;
  return /^([A-Za-z_~][\w~]*)\(.*\)(?: const)?$/.exec(name)?.[1] ?? name;
}

/** The crate a function is of, by the first part of its path; else its module. */
export function crateOf(name: string, module: string): string {
  const path = /^<*(?:&?(?:mut |dyn )?)*([A-Za-z_][\w]*)::/.exec(name);
  return path ? path[1]! : module;
}
