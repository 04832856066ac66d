/**
 * The URL is the state: every page reads its parameters from here and writes them back, so a copied link shows the same view.
 *
 * `v` is the version of the URL's vocabulary. Links of older versions are upgraded on arrival; the collector's own links
 * carry no `v` and mean version 1.
 */
import { computed, type ReadonlySignal, signal } from "@preact/signals";

export const URL_VERSION = 1;

export interface Here {
  path: string;
  params: URLSearchParams;
  /** Set when the link was made by a newer release than this page. */
  newer: boolean;
  /** The path of the pin whose view is shown, as the address bar has it. */
  pinned: string | null;
}

/** Step k turns version k parameters into version k + 1. */
const UPGRADES: Record<number, (params: URLSearchParams) => void> = {};

/** Brings parameters of any version to the current one. Pure. */
export function upgrade(raw: URLSearchParams): { params: URLSearchParams; newer: boolean } {
  const params = new URLSearchParams(raw);
  const stated = params.get("v");
  const version = stated === null ? URL_VERSION : Number(stated);
  if (!Number.isInteger(version) || version > URL_VERSION) return { params, newer: version > URL_VERSION };
  for (let v = version; v < URL_VERSION; v++) UPGRADES[v]?.(params);
  if (stated !== null) params.set("v", String(URL_VERSION));
  return { params, newer: false };
}

function read(): Here {
  const { params, newer } = upgrade(new URLSearchParams(location.search));
  return { path: location.pathname, params, newer, pinned: null };
}

export const here = signal<Here>(
  typeof location === "undefined" ? { path: "/", params: new URLSearchParams(), newer: false, pinned: null } : read(),
);

/** A path with parameters and the vocabulary's version. `null`, `undefined` and empty values are left out. */
export function href(path: string, params: Record<string, Value> | URLSearchParams = {}): string {
  const out = new URLSearchParams();
  if (params instanceof URLSearchParams) for (const [k, v] of params) out.append(k, v);
  else for (const [k, v] of Object.entries(params)) append(out, k, v);
  out.delete("v");
  const text = out.toString().replaceAll("%3A", ":").replaceAll("%2C", ",").replaceAll("%2F", "/");
  return text === "" ? path : `${path}?v=${URL_VERSION}&${text}`;
}

type Value = string | number | readonly string[] | null | undefined;

function append(to: URLSearchParams, key: string, value: Value): void {
  if (value === null || value === undefined || value === "") return;
  if (typeof value === "object") for (const v of value) to.append(key, v);
  else to.set(key, String(value));
}

/** A `sel` that is no path key: the widest place of the function in `fn`. Longer than any key, so it names no node. */
export const BY_NAME = "function";

/** A link to a page with a graph, with a function selected in it. */
export function showing(link: string, name: string): string {
  const url = new URL(link, "http://here");
  url.searchParams.set("fn", name);
  url.searchParams.set("sel", BY_NAME);
  return href(url.pathname, url.searchParams);
}

/** Goes to a page of this view. `replace` leaves no entry behind for the back button. */
export function go(to: string, options: { replace?: boolean } = {}): void {
  if (options.replace && here.value.pinned !== null) {
    // What the page settles by itself is no reason to leave the pin.
    showPinned(to);
    return;
  }
  if (options.replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  const before = here.value.path;
  here.value = read();
  if (here.value.path !== before) scrollTo(0, 0);
}

/** Shows the view that a pin keeps, under the pin's own address. */
export function showPinned(url: string): void {
  const to = new URL(url, location.origin);
  const pinned = here.value.pinned ?? location.pathname;
  here.value = { path: to.pathname, ...upgrade(to.searchParams), pinned };
}

/** Changes parameters of this page; `null` removes one. */
export function setParams(patch: Record<string, Value>, options: { replace?: boolean } = {}): void {
  const to = withParams(patch);
  if (to !== href(here.value.path, here.value.params)) go(to, options);
}

/** The URL [`setParams`] would go to. */
export function withParams(patch: Record<string, Value>): string {
  const params = new URLSearchParams(here.value.params);
  for (const [key, value] of Object.entries(patch)) {
    params.delete(key);
    append(params, key, value);
  }
  return href(here.value.path, params);
}

/** One parameter as a signal that only changes when its text does. */
export function param(name: string): ReadonlySignal<string> {
  return computed(() => here.value.params.get(name) ?? "");
}

/** All values of a repeated parameter, newline-joined so that equal lists are equal signals. */
export function paramList(name: string): ReadonlySignal<string> {
  return computed(() => here.value.params.getAll(name).join("\n"));
}

export function splitList(joined: string): string[] {
  return joined === "" ? [] : joined.split("\n");
}

/** Back button, and clicks on links to our own pages. */
export function watchNavigation(): void {
  addEventListener("popstate", () => {
    here.value = read();
  });
  document.addEventListener("click", (event) => {
    if (
      event.defaultPrevented ||
      event.button !== 0 ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey
    )
      return;
    const link = (event.target as Element | null)?.closest?.("a[href]");
    if (!(link instanceof HTMLAnchorElement) || link.target !== "" || link.hasAttribute("download")) return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || !isPage(url.pathname)) return;
    event.preventDefault();
    go(url.pathname + url.search);
  });
}

function isPage(path: string): boolean {
  return path === "/" || /^\/(s|trace|p)\/|^\/(diff|growth|alert|status)$/.test(path);
}
