/** Modules that the build makes up: `vite.config.ts`. */
declare module "virtual:flame-worker" {
  /** Where `profile/worker.ts` is served. */
  const url: string;
  export default url;
}
