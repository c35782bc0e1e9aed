import type { Command } from "commander";
import type { DomainView } from "../../client/index.ts";
import { usageError, type CliContext } from "../context.ts";

interface Options {
  readonly all?: true;
  readonly inactive?: true;
  readonly name?: true;
  readonly uuid?: true;
}

export function configure(command: Command, context: CliContext): void {
  command
    .option("--all", "running domains and others")
    .option("--inactive", "domains that are not running")
    .option("--name", "names only")
    .option("--uuid", "uuids only")
    .action(async (options: Options) => {
      const { client, out } = context;
      if (options.name === true && options.uuid === true) throw usageError("--name and --uuid exclude each other");
      const domains = (await client.listDomains())
        .filter((domain) => isWanted(domain, options))
        .toSorted(compareDomains);
      if (context.json) out.json(domains);
      else if (options.name === true) for (const { name } of domains) out.line(name);
      else if (options.uuid === true) for (const { uuid } of domains) out.line(uuid);
      else out.table(["Id", "Name", "State"], domains.map(toRow));
    });
}

function isWanted(domain: DomainView, { all, inactive }: Options): boolean {
  return all === true || (domain.id === null) === (inactive === true);
}

/** As virsh: running ones by id, then the others by name. */
function compareDomains(a: DomainView, b: DomainView): number {
  return (a.id ?? Infinity) === (b.id ?? Infinity)
    ? a.name.localeCompare(b.name)
    : (a.id ?? Infinity) - (b.id ?? Infinity);
}

function toRow({ id, name, state }: DomainView): string[] {
  return [id === null ? "-" : String(id), name, state];
}
