/** The QMP client against a monitor that says anything: framing, message reading and the client's book of commands in flight. */
import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import fc from "fast-check";
import { isQmError } from "../../src/base/errors.ts";
import { StreamQmpClient } from "../../src/qmp/client.ts";
import type { EventVocabulary, Vocabulary } from "../../src/qmp/client-types.ts";
import { defineTarget } from "./fuzz-target.ts";

const maxLineBytes = 16 * 1024;

/** What the peer does: `raw` is bytes as Latin-1; numbers choose a command in flight, or a size. */
export type PeerAct =
  | { readonly act: "greet" | "grant" | "event" | "foreign" | "unknown" | "no-id" | "end" }
  | { readonly act: "answer" | "refuse" | "twice" | "giant" | "deep"; readonly value: number }
  | { readonly act: "raw"; readonly bytes: string }
  | { readonly act: "json"; readonly text: string };

export interface QmpInput {
  readonly acts: readonly PeerAct[];
  /** Sizes of the chunks in which the peer's bytes arrive, over and over. */
  readonly chunks: readonly number[];
}

const keys = fc.constantFrom(
  "return",
  "error",
  "event",
  "QMP",
  "id",
  "class",
  "desc",
  "data",
  "timestamp",
  "__proto__",
);
const act: fc.Arbitrary<PeerAct> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ act: fc.constantFrom("answer", "refuse", "twice"), value: fc.nat(9) }) },
  { weight: 3, arbitrary: fc.record({ act: fc.constantFrom("event", "foreign", "unknown", "no-id", "end", "greet") }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constantFrom("giant", "deep"), value: fc.nat(2 * maxLineBytes) }) },
  {
    weight: 1,
    arbitrary: fc
      .uint8Array({ maxLength: 40 })
      .map((bytes) => ({ act: "raw" as const, bytes: Buffer.from(bytes).toString("latin1") })),
  },
  {
    weight: 2,
    arbitrary: fc
      .dictionary(keys, fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.string({ unit: "binary" })), {
        maxKeys: 4,
        noNullPrototype: true,
      })
      .map((message) => ({ act: "json" as const, text: JSON.stringify(message) })),
  },
);
const start: fc.Arbitrary<readonly PeerAct[]> = fc.oneof(
  { weight: 8, arbitrary: fc.constant([{ act: "greet" }, { act: "grant" }] as const) },
  { weight: 1, arbitrary: fc.constant([{ act: "greet" }] as const) },
  { weight: 1, arbitrary: fc.constant([]) },
);

export const qmpTarget = defineTarget<QmpInput>({
  inputs: fc.record({
    acts: fc.tuple(start, fc.array(act, { maxLength: 12 })).map(([first, rest]) => [...first, ...rest]),
    chunks: fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 6 }),
  }),
  check: checkConversation,
});

/** Every command ends, as its own answer says or with a `QM_QMP_…` error; so does the connection; what was said stays in its bounds. */
async function checkConversation({ acts, chunks }: QmpInput): Promise<void> {
  const peer = new ScriptedPeer();
  const client = new StreamQmpClient<Vocabulary, EventVocabulary>(peer.stream, {
    maxLineBytes,
    outOfBand: true,
    onState: () => undefined,
  });
  client.ready.catch(() => undefined);
  const listener = client.subscribe(undefined, 4);
  const commands: Promise<void>[] = [];
  client.start();
  let sizes = 0;
  for (const one of acts) {
    let bytes = peer.perform(one);
    while (bytes.length > 0 && !peer.stream.destroyed) {
      const size = chunks[sizes++ % chunks.length] ?? 1;
      peer.stream.push(bytes.subarray(0, size));
      bytes = bytes.subarray(size);
    }
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (client.state === "running" && commands.length < 4) commands.push(checkCommand(client, commands.length));
  }
  await client.close();
  assert.equal(client.state, "closed");
  assertProtocolError(await client.closed);
  await Promise.all(commands);
  for (let left = 0; ; left++) {
    assert.ok(left <= 4, "the listener's queue is bounded");
    const error: unknown = await listener.next().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (error === undefined) continue;
    assertProtocolError(error);
    break;
  }
}

async function checkCommand(client: StreamQmpClient<Vocabulary, EventVocabulary>, number: number): Promise<void> {
  try {
    const result = await client.execute(`command-${number}`, {});
    // The peer's own made-up answers cannot know the id.
    assert.equal(result, `for command-${number}`, "an answer to another command");
  } catch (error) {
    assertProtocolError(error);
    if (isQmError(error, "QM_QMP_COMMAND")) assert.equal(error.fields["reason"], `for command-${number}`);
  }
}

function assertProtocolError(error: unknown): void {
  if (error === undefined) return;
  if (!isQmError(error) || !error.code.startsWith("QM_QMP_")) throw error;
  assert.ok(JSON.stringify(error).length < 4096, "an error repeats all that the peer sent");
}

class ScriptedPeer {
  readonly stream: Duplex;
  readonly #commands: { readonly id: unknown; readonly name: string }[] = [];
  readonly #answered = new Set<unknown>();

  constructor() {
    this.stream = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        for (const line of chunk.toString().trimEnd().split("\n")) {
          const { id, execute } = JSON.parse(line) as { id: unknown; execute: string };
          this.#commands.push({ id, name: execute });
        }
        done();
      },
    });
  }

  perform(one: PeerAct): Buffer {
    switch (one.act) {
      case "greet":
        return line({ QMP: { version: { qemu: { major: 7, minor: 2, micro: 0 } }, capabilities: ["oob"] } });
      case "grant":
        return this.#answer(this.#commands[0], {});
      case "answer":
        return this.#answer(this.#open(one.value));
      case "refuse": {
        const command = this.#open(one.value);
        if (command === undefined) return Buffer.alloc(0);
        this.#answered.add(command.id);
        return line({ error: { class: "GenericError", desc: `for ${command.name}` }, id: command.id });
      }
      case "twice":
        return this.#answer(this.#commands[one.value % Math.max(this.#commands.length, 1)]);
      case "event":
        return line({ event: "STOP", timestamp: { seconds: 1, microseconds: 2 } });
      case "foreign":
        return line({ return: "foreign", id: "00000000-1" });
      case "unknown":
        return line({ return: "unknown", id: `${String(this.#commands[0]?.id)}99` });
      case "no-id":
        return line({ return: "no id" });
      case "giant":
        return line({ event: "x".repeat(one.value), timestamp: { seconds: 1, microseconds: 2 } });
      case "deep":
        return Buffer.from(`${"[".repeat(one.value)}\n`);
      case "json":
        return Buffer.from(`${one.text}\n`);
      case "raw":
        return Buffer.from(one.bytes, "latin1");
      case "end":
        this.stream.push(null);
        return Buffer.alloc(0);
    }
  }

  #open(which: number): { readonly id: unknown; readonly name: string } | undefined {
    const open = this.#commands.filter(({ id }) => !this.#answered.has(id));
    return open[which % Math.max(open.length, 1)];
  }

  #answer(command: { readonly id: unknown; readonly name: string } | undefined, value?: unknown): Buffer {
    if (command === undefined) return Buffer.alloc(0);
    this.#answered.add(command.id);
    return line({ return: value ?? `for ${command.name}`, id: command.id });
  }
}

function line(message: object): Buffer {
  return Buffer.from(`${JSON.stringify(message)}\r\n`);
}
