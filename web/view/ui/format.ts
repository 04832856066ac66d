/** Numbers, units and times as people read them. Three significant digits, tabular, never NaN. */
import { zone } from "../state/zone";

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const COUNTS = ["", " k", " M", " G", " T"];

/** Below this many cores, thousandths are said: `38 mcores`. */
const CORES_MIN = 0.1;

/** A value with its unit: `1.93 cores`, `38 mcores`, `12.4 MiB/s`, `3.20 s`, `41.2 %`. */
export function value(v: number, unit: string): string {
  if (!Number.isFinite(v)) return "–";
  if (unit === "share") return percent(v);
  if (/bytes/.test(unit)) return scaled(v, 1024, BYTES) + unit.replace(/^.*bytes/, "");
  if (/nanoseconds/.test(unit)) return duration(v / 1e6) + unit.replace(/^.*nanoseconds/, "");
  if (unit === "seconds") return duration(v * 1e3);
  if (unit === "cores" && v !== 0 && Math.abs(v) < CORES_MIN) return `${thousandths(v)} mcores`;
  if (unit === "cores") return `${digits(v)} ${Math.abs(v) === 1 ? "core" : "cores"}`;
  const [noun, rest] = splitUnit(unit);
  return `${scaled(v, 1000, COUNTS)}${noun === "" ? "" : ` ${noun}`}${rest}`;
}

function thousandths(v: number): string {
  const n = Math.abs(v) * 1000;
  const sign = v < 0 ? "−" : "";
  return sign + (n >= 10 ? Math.round(n) : n >= 1 ? n.toFixed(1) : digits(n));
}

function splitUnit(unit: string): [string, string] {
  const slash = unit.indexOf("/");
  const noun = slash < 0 ? unit : unit.slice(0, slash);
  return [noun === "count" || noun === "1" ? "" : noun, slash < 0 ? "" : unit.slice(slash)];
}

function scaled(v: number, base: number, names: string[]): string {
  let k = 0;
  let n = Math.abs(v);
  while (n >= base && k < names.length - 1) {
    n /= base;
    k++;
  }
  const name = names[k]!;
  return `${v < 0 ? "−" : ""}${digits(n)}${name.startsWith(" ") || name === "" ? name : ` ${name}`}`;
}

/** Three significant digits, no exponent; whole numbers below 1000 stay whole. */
export function digits(v: number): string {
  const n = Math.abs(v);
  const sign = v < 0 ? "−" : "";
  if (n === 0) return "0";
  if (n >= 1000) return sign + Math.round(n).toLocaleString("en-GB");
  if (Number.isInteger(n)) return sign + n;
  if (n < 0.0005) return `${sign}<0.001`;
  const places = n >= 100 ? 0 : n >= 10 ? 1 : n >= 0.1 ? 2 : 3;
  return sign + n.toFixed(places);
}

/** A difference: `+1.20 cores`, `−0.31 cores`, `±0 cores`, and `+4.0 pp` between shares. */
export function signed(v: number, unit: string): string {
  // The difference of two shares is no share of anything.
  const text = unit === "share" ? percent(Math.abs(v)).replace("%", "pp") : value(Math.abs(v), unit);
  if (v === 0 || /^0(\.0+)?\b(?!\.)/.test(text)) return `±${text}`;
  return (v > 0 ? "+" : "−") + text;
}

/** Without a unit that the page already names: `1.93`, but `38 m` for thousandths of it. */
export function bare(text: string): string {
  return text.replace(/ m?cores?$/, (unit) => (unit.startsWith(" m") ? "\u00a0m" : "")).replace(/ count.*$/, "");
}

/** A short signed number for a box. */
export function shortSigned(v: number, unit: string): string {
  return bare(signed(v, unit));
}

export function percent(share: number): string {
  if (!Number.isFinite(share)) return "–";
  const p = share * 100;
  const n = Math.abs(p);
  if (n === 0) return "0\u00a0%";
  if (n < 0.01) return "<0.01\u00a0%";
  return `${p < 0 ? "−" : ""}${n.toFixed(n >= 10 ? (n === 100 ? 0 : 1) : n >= 1 ? 1 : 2)}\u00a0%`;
}

/** A relative change: `+32 %`, `−4.1 %`, `new`, `gone`. */
export function change(a: number, b: number): string {
  if (a <= 0 && b <= 0) return "–";
  if (a <= 0) return "new";
  if (b <= 0) return "gone";
  const r = b / a - 1;
  const n = Math.abs(r * 100);
  if (n < 0.05) return "±0\u00a0%";
  if (n >= 1000) return `×${digits(b / a)}`;
  return `${r > 0 ? "+" : "−"}${n.toFixed(n >= 10 ? 0 : 1)}\u00a0%`;
}

export function count(n: number): string {
  return Math.round(n).toLocaleString("en-GB").replaceAll(",", " ");
}

export function bytes(n: number): string {
  return value(n, "bytes");
}

/** Milliseconds as `41 µs`, `3.2 ms`, `1.4 s`, `12 min`, `3 h 20 min`, `2 d 4 h`. */
export function duration(ms: number): string {
  const n = Math.abs(ms);
  const sign = ms < 0 ? "−" : "";
  if (n === 0) return "0 s";
  if (n < 1e-3) return `${sign}${digits(n * 1e6)} ns`;
  if (n < 1) return `${sign}${digits(n * 1e3)} µs`;
  if (n < 1000) return `${sign}${digits(n)} ms`;
  const s = n / 1000;
  if (s < 90) return `${sign}${digits(s)} s`;
  const min = s / 60;
  if (min < 90) return `${sign}${Number.isInteger(min) || min >= 10 ? Math.round(min) : min.toFixed(1)} min`;
  const h = Math.floor(min / 60);
  const restMin = Math.round(min - h * 60);
  if (h < 48) return `${sign}${h} h${restMin ? ` ${restMin} min` : ""}`;
  const d = Math.floor(h / 24);
  return `${sign}${d} d${h - d * 24 ? ` ${h - d * 24} h` : ""}`;
}

/** `12 s ago`, `3 min ago`. */
export function ago(at: number, now: number): string {
  const ms = now - at;
  return ms < 1500 ? "just now" : `${duration(Math.round(ms / 1000) * 1000)} ago`;
}

interface Clock {
  minutes: Intl.DateTimeFormat;
  seconds: Intl.DateTimeFormat;
  day: Intl.DateTimeFormat;
  fullDay: Intl.DateTimeFormat;
  year: Intl.DateTimeFormat;
}

function clockOf(timeZone: string | undefined): Clock {
  const of = (options: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat("en-GB", { ...options, timeZone });
  return {
    minutes: of({ hour: "2-digit", minute: "2-digit" }),
    seconds: of({ hour: "2-digit", minute: "2-digit", second: "2-digit" }),
    day: of({ day: "numeric", month: "short" }),
    fullDay: of({ day: "numeric", month: "short", year: "numeric" }),
    year: of({ year: "numeric" }),
  };
}

const LOCAL = clockOf(undefined);
const UTC = clockOf("UTC");
/** The one that was chosen. */
const clock = () => (zone.value === "utc" ? UTC : LOCAL);

/** `25 Feb 2027`: for what lies far away. */
export function date(at: number): string {
  return clock().fullDay.format(at);
}

/** `13:41`, with the day if it is not today's. */
export function time(at: number, now = Date.now(), seconds = false): string {
  const { minutes, seconds: exact, day, fullDay, year } = clock();
  const text = (seconds ? exact : minutes).format(at);
  if (fullDay.format(at) === fullDay.format(now)) return text;
  return `${(year.format(at) === year.format(now) ? day : fullDay).format(at)} ${text}`;
}

/** `13:40–14:00`, days where they differ. */
export function range(from: number, until: number, now = Date.now()): string {
  const short = until - from < 5 * 60e3;
  const { minutes, seconds, fullDay } = clock();
  const start = time(from, now, short);
  if (fullDay.format(from) !== fullDay.format(until)) return `${start} – ${time(until, now, short)}`;
  const end = (short ? seconds : minutes).format(until);
  return start.endsWith(end) ? start : `${start}–${end}`;
}

/** `13:41 UTC`, whatever clock was chosen. */
export function utcTime(at: number): string {
  return `${UTC.minutes.format(at)} UTC`;
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** Words for profile types people meet first. Bytes are called bytes, so that nobody takes them for objects. */
export function typeLabel(name: string): string {
  const known: Record<string, string> = {
    cpu: "CPU",
    alloc_space: "Bytes allocated",
    alloc_objects: "Objects allocated",
    inuse_space: "Bytes in use",
    inuse_objects: "Objects in use",
    wall: "Wall time",
    lock: "Lock wait",
    cpu_time: "CPU",
    goroutine: "Goroutines",
    space: "Bytes in use",
    objects: "Objects in use",
    contentions: "Contentions",
    delay: "Waiting for locks",
  };
  return known[name] ?? name.replaceAll("_", " ");
}
