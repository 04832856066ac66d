/** Which agents are missed, and which only ended: every deploy and every scale-down leaves some behind. Pure. */
import type { StatusAnswer } from "../api/contract";

type Agent = StatusAnswer["agents"][number];

/** Three missed windows. */
const SILENT_MS = 35_000;

export function isSilent(agent: Agent, now: number): boolean {
  return now - agent.last_seen > SILENT_MS;
}

/** `ended`: silent while others of their service go on. A service of which nobody reports is missed, and stays with the rest. */
export function sortAgents(agents: readonly Agent[], now: number): { here: Agent[]; ended: Agent[] } {
  const live = new Set(agents.filter((a) => !isSilent(a, now)).map((a) => a.service));
  const isEnded = (a: Agent) => isSilent(a, now) && live.has(a.service);
  return { here: agents.filter((a) => !isEnded(a)), ended: agents.filter(isEnded) };
}
