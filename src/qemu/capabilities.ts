/** What this QEMU can do, as it says itself: never concluded from its version. */
import { isQmError } from "../base/errors.ts";
import type { Monitor } from "./monitor.ts";
import type { QapiCommands, SchemaInfo } from "./qapi.gen.ts";

type CommandList = QapiCommands["query-commands"]["result"];

export interface QemuFeatures {
  readonly commands: ReadonlySet<string>;
  /** Action types that `transaction` takes. Empty for a QEMU without introspection (before 2.5). */
  readonly transactionActions: ReadonlySet<string>;
  hasCommand(command: string): boolean;
  /** Whether `command` takes the argument. False too for a QEMU without introspection. */
  hasArg(command: string, arg: string): boolean;
  /** Those of `needs` that this QEMU lacks: `blockdev-mirror`, `blockdev-mirror.copy-mode`, `transaction:blockdev-snapshot`. */
  missingFor(needs: readonly string[]): string[];
}

const probed = new WeakMap<Monitor, Promise<QemuFeatures>>();

/** Asks once per connection. Rejects as `Monitor.execute` does; the next call asks again then. */
export function probeQemu(monitor: Monitor): Promise<QemuFeatures> {
  const known = probed.get(monitor);
  if (known !== undefined) return known;
  const asked = askFeatures(monitor).catch((error: unknown) => {
    probed.delete(monitor);
    throw error;
  });
  probed.set(monitor, asked);
  return asked;
}

async function askFeatures(monitor: Monitor): Promise<QemuFeatures> {
  const [commands, schema] = await Promise.all([
    monitor.execute("query-commands"),
    monitor.execute("query-qmp-schema").catch((error: unknown) => {
      if (isQmError(error, "QM_QMP_COMMAND")) return [];
      throw error;
    }),
  ]);
  return describeFeatures(commands, schema);
}

/** Features out of the answers of `query-commands` and `query-qmp-schema`. */
export function describeFeatures(commandList: CommandList, schema: readonly SchemaInfo[]): QemuFeatures {
  const commands = new Set(commandList.map(({ name }) => name));
  const entities = new Map(schema.map((entity) => [entity.name, entity]));
  const transactionActions = new Set(listActions(entities));

  const hasCommand = (command: string): boolean => commands.has(command);
  const hasArg = (command: string, arg: string): boolean =>
    hasCommand(command) && findArg(entities, command, arg) !== undefined;
  const has = (need: string): boolean => {
    if (need.startsWith("transaction:")) return transactionActions.has(need.slice("transaction:".length));
    const [command = "", arg] = need.split(".");
    return arg === undefined ? hasCommand(command) : hasArg(command, arg);
  };
  return {
    commands,
    transactionActions,
    hasCommand,
    hasArg,
    missingFor: (needs) => needs.filter((need) => !has(need)),
  };
}

type Entities = ReadonlyMap<string, SchemaInfo>;

/** The schema's name for the type of an argument. */
function findArg(entities: Entities, command: string, arg: string): string | undefined {
  const entity = entities.get(command);
  if (entity?.["meta-type"] !== "command") return undefined;
  return listMembers(entities, entity["arg-type"]).get(arg);
}

/** Members of an object type and of its variants, with their types. */
function listMembers(entities: Entities, typeName: string): Map<string, string> {
  const type = entities.get(typeName);
  if (type?.["meta-type"] !== "object") return new Map();
  const ofVariants = (type.variants ?? []).flatMap((variant) => [...listMembers(entities, variant.type)]);
  return new Map([...ofVariants, ...type.members.map(({ name, type: memberType }) => [name, memberType] as const)]);
}

function listActions(entities: Entities): string[] {
  const list = entities.get(findArg(entities, "transaction", "actions") ?? "");
  const action = list?.["meta-type"] === "array" ? entities.get(list["element-type"]) : undefined;
  return action?.["meta-type"] === "object" ? (action.variants ?? []).map((variant) => variant.case) : [];
}
