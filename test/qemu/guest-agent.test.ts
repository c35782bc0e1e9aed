import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { askGuestToEnd, freezeGuest, thawGuest, type GuestAgent } from "../../src/qemu/guest-agent.ts";
import { servePeer, type Peer } from "../qmp/scripted-peer.ts";

/** What the guest says to a command; a string is sent as it is, nothing: it never answers. */
type Script = Readonly<Record<string, unknown>>;

/** An agent that knows these commands and their arguments, and fails the test for any other. */
async function serveAgent(t: TestContext, script: Script): Promise<GuestAgent & { readonly heard: string[] }> {
  const heard: string[] = [];
  const socketPath = await servePeer(t, async (peer) => {
    for (;;) await answer(peer, heard, script);
  });
  return { domain: "d", socketPath, deadlineMs: 300, heard };
}

async function answer(peer: Peer, heard: string[], script: Script): Promise<void> {
  const { execute, arguments: args } = (await peer.read()) as { execute: string; arguments?: { id?: number } };
  if (execute === "guest-sync-delimited" && script[execute] === undefined) {
    peer.socket.write(Buffer.concat([Buffer.of(0xff), Buffer.from(`{"return": ${args?.id}}\n`)]));
    return;
  }
  heard.push(args === undefined ? execute : `${execute} ${JSON.stringify(args)}`);
  if (execute === "guest-ping" && script[execute] === undefined) return peer.send({ return: {} });
  const said = script[execute];
  if (typeof said === "string") peer.socket.write(said);
  else if (said !== undefined && said !== null) peer.send(said);
}

async function assertAgent(promise: Promise<unknown>, words: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(isQmError(error, "QM_AGENT"), String(error));
    assert.match(error.message, words);
    return true;
  });
}

const never = new Promise<never>(() => undefined);
const refusal = { error: { class: "GenericError", desc: "not while the moon is full" } };

describe("freezing and thawing", () => {
  it("says how many file systems it was", async (t) => {
    const agent = await serveAgent(t, {
      "guest-fsfreeze-freeze": { return: 3 },
      "guest-fsfreeze-freeze-list": { return: 1 },
      "guest-fsfreeze-thaw": { return: 4 },
    });
    assert.equal(await freezeGuest(agent), 3);
    assert.equal(await freezeGuest(agent, { mountpoints: ["/srv"] }), 1);
    assert.equal(await thawGuest(agent), 4);
    assert.deepEqual(
      agent.heard.filter((command) => command !== "guest-ping"),
      ["guest-fsfreeze-freeze", 'guest-fsfreeze-freeze-list {"mountpoints":["/srv"]}', "guest-fsfreeze-thaw"],
    );
  });

  it("asks nothing of an agent that does not answer at all", async (t) => {
    const silent = await serveAgent(t, { "guest-sync-delimited": null });
    await assertAgent(freezeGuest(silent), /did not answer within 300 ms/);
    assert.deepEqual([...new Set(silent.heard.map((line) => line.split(" ")[0]))], ["guest-sync-delimited"]);
  });

  it("thaws a guest of which it is not known whether it froze", async (t) => {
    const late = await serveAgent(t, { "guest-fsfreeze-freeze": null, "guest-fsfreeze-thaw": { return: 2 } });
    await assertAgent(freezeGuest(late), /did not answer within 300 ms; its file systems were thawed/);
    assert.equal(late.heard.at(-1), "guest-fsfreeze-thaw");
    const hung = await serveAgent(t, { "guest-fsfreeze-freeze": null, "guest-fsfreeze-thaw": null });
    await assertAgent(freezeGuest(hung), /may be frozen: thawing failed/);
  });

  it("thaws a guest whose answer makes no sense, and says what it was", async (t) => {
    for (const [said, words] of [
      [{ return: "many" }, /makes no sense: "many"/],
      [{ return: -1 }, /makes no sense: -1/],
      [{ return: 1.5 }, /makes no sense: 1.5/],
      [{ surprise: 1 }, /makes no sense/],
      ["no JSON at all\n", /makes no sense/],
    ] as const) {
      const liar = await serveAgent(t, { "guest-fsfreeze-freeze": said, "guest-fsfreeze-thaw": { return: 0 } });
      await assertAgent(freezeGuest(liar), words);
      assert.equal(liar.heard.at(-1), "guest-fsfreeze-thaw");
    }
  });

  it("does not thaw what it did not freeze: the agent refused", async (t) => {
    const agent = await serveAgent(t, { "guest-fsfreeze-freeze": refusal });
    await assertAgent(freezeGuest(agent), /refused guest-fsfreeze-freeze: .*full moon|not while the moon is full/);
    assert.ok(!agent.heard.includes("guest-fsfreeze-thaw"));
  });

  it("thaws when it is cancelled meanwhile", async (t) => {
    const agent = await serveAgent(t, { "guest-fsfreeze-freeze": null, "guest-fsfreeze-thaw": { return: 1 } });
    const abort = new AbortController();
    const frozen = freezeGuest({ ...agent, deadlineMs: 5_000 }, { signal: abort.signal });
    setTimeout(() => abort.abort(), 100);
    await assert.rejects(frozen, (error) => isQmError(error, "QM_CANCELLED"));
    assert.equal(agent.heard.at(-1), "guest-fsfreeze-thaw");
  });

  it("names the channel that cannot be reached", async () => {
    await assertAgent(thawGuest({ domain: "d", socketPath: "/nowhere/agent.sock" }), /nowhere/);
  });
});

describe("asking the guest to shut down", () => {
  it("takes silence for a yes, and the end itself too", async (t) => {
    const agent = await serveAgent(t, { "guest-shutdown": null });
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    setTimeout(resolve, 100);
    await askGuestToEnd(agent, "reboot", ended);
    assert.equal(agent.heard.at(-1), 'guest-shutdown {"mode":"reboot"}');
    await askGuestToEnd(agent, "powerdown", never);
  });

  it("hears a refusal, and an agent that is not there", async (t) => {
    await assertAgent(
      askGuestToEnd(await serveAgent(t, { "guest-shutdown": refusal }), "powerdown", never),
      /refused guest-shutdown: not while the moon is full/,
    );
    await assertAgent(
      askGuestToEnd(await serveAgent(t, { "guest-sync-delimited": null }), "powerdown", never),
      /did not answer/,
    );
  });
});
