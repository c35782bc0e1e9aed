/**
 * What we ask of the guest agent (QEMU: qemu-ga). The guest may be slow, hostile or absent: every wait has an end, every answer is
 * checked, and every failure is a `QM_AGENT` that says which it was.
 */
import { isQmError, errorText, QmError } from "../base/errors.ts";
import { connectAgent, type GuestAgentChannel } from "../qmp/agent.ts";

/** For each answer. */
export const agentDeadlineMs = 10_000;

/** The agent answers a shutdown only to refuse it: silence for this long is a yes. */
const shutdownRefusalMs = 3_000;

const maxQuotedChars = 80;

export interface GuestAgent {
  /** The domain that errors name. */
  readonly domain: string;
  readonly socketPath: string;
  /** For each answer; default {@link agentDeadlineMs}. */
  readonly deadlineMs?: number;
}

/**
 * Freezes the file systems, all or those at `mountpoints`; how many. When it rejects they are not frozen, as far as can be known:
 * after an answer that did not come or made no sense the agent is told to thaw.
 */
export async function freezeGuest(
  agent: GuestAgent,
  options: { readonly mountpoints?: readonly string[]; readonly signal?: AbortSignal } = {},
): Promise<number> {
  const { mountpoints, signal } = options;
  const [command, args] =
    mountpoints === undefined
      ? (["guest-fsfreeze-freeze", undefined] as const)
      : (["guest-fsfreeze-freeze-list", { mountpoints }] as const);
  return await withAgent(agent, async (channel) => {
    const limits = { timeoutMs: deadlineOf(agent), signal };
    // An agent that does not answer now has not been asked for anything that lasts.
    await channel.execute("guest-ping", undefined, limits);
    try {
      return readCount(agent, command, await channel.execute(command, args, limits));
    } catch (error) {
      if (isQmError(error, "QM_QMP_COMMAND")) throw error;
      const reason = reasonOf(error, deadlineOf(agent));
      const thawed = await thaw(agent, channel).then(
        () => "its file systems were thawed",
        (second: unknown) => `its file systems may be frozen: thawing failed: ${errorText(second)}`,
      );
      if (isQmError(error, "QM_CANCELLED")) throw error;
      throw new QmError("QM_AGENT", { domain: agent.domain, reason: `${reason}; ${thawed}` }, { cause: error });
    }
  });
}

/** Thaws all file systems; how many. No error when none was frozen. */
export async function thawGuest(agent: GuestAgent): Promise<number> {
  return await withAgent(agent, (channel) => thaw(agent, channel));
}

/** Asks the guest to shut down or reboot. `ended`: resolves when it is seen to do so. */
export async function askGuestToEnd(
  agent: GuestAgent,
  mode: "powerdown" | "reboot",
  ended: Promise<unknown>,
): Promise<void> {
  await withAgent(agent, async (channel) => {
    await channel.execute("guest-ping", undefined, { timeoutMs: deadlineOf(agent) });
    const answer = channel.execute("guest-shutdown", { mode }, { timeoutMs: shutdownRefusalMs }).catch((error) => {
      if (isQmError(error, "QM_QMP_COMMAND")) throw error;
    });
    await Promise.race([answer, ended]);
  });
}

async function thaw(agent: GuestAgent, channel: GuestAgentChannel): Promise<number> {
  const command = "guest-fsfreeze-thaw";
  return readCount(agent, command, await channel.execute(command, undefined, { timeoutMs: deadlineOf(agent) }));
}

function deadlineOf({ deadlineMs = agentDeadlineMs }: GuestAgent): number {
  return deadlineMs;
}

async function withAgent<T>(agent: GuestAgent, use: (channel: GuestAgentChannel) => Promise<T>): Promise<T> {
  let channel: GuestAgentChannel | undefined;
  try {
    channel = await connectAgent({ path: agent.socketPath, connectTimeoutMs: deadlineOf(agent) });
    return await use(channel);
  } catch (error) {
    if (isQmError(error, "QM_AGENT") || isQmError(error, "QM_CANCELLED")) throw error;
    const reason = reasonOf(error, deadlineOf(agent));
    throw new QmError("QM_AGENT", { domain: agent.domain, reason }, { cause: error });
  } finally {
    await channel?.close();
  }
}

function reasonOf(error: unknown, deadlineMs: number): string {
  if (isQmError(error, "QM_AGENT")) return String(error.fields.reason);
  if (isQmError(error, "QM_TIMEOUT")) return `it did not answer within ${deadlineMs} ms`;
  if (isQmError(error, "QM_QMP_COMMAND")) return `it refused ${error.fields.command}: ${error.fields.reason}`;
  if (isQmError(error, "QM_QMP_PROTOCOL")) return `its answer makes no sense: ${error.fields.reason}`;
  if (isQmError(error, "QM_QMP_LOST")) return "its channel was closed";
  return errorText(error);
}

function readCount({ domain }: GuestAgent, command: string, answer: unknown): number {
  if (typeof answer === "number" && Number.isSafeInteger(answer) && answer >= 0) return answer;
  const quoted = (JSON.stringify(answer) ?? "nothing").slice(0, maxQuotedChars);
  throw new QmError("QM_AGENT", { domain, reason: `its answer to ${command} makes no sense: ${quoted}` });
}
