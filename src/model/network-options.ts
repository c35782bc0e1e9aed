/** Images on the network as QEMU's options name them (QAPI `BlockdevOptions`), without those that say how to open them. */
import {
  defaultPorts,
  formatNetworkPath,
  formatUrl,
  parseNetworkPath,
  type NbdSource,
  type NetworkHost,
  type NetworkSource,
  type RbdSource,
} from "./network-source.ts";

/** `driver`, and the members of `BlockdevOptionsNbd`, `BlockdevOptionsRbd` or `BlockdevOptionsCurlHttp`. */
export function describeNetworkOptions(source: NetworkSource): { readonly driver: string } & Record<string, unknown> {
  switch (source.protocol) {
    case "nbd":
      return {
        driver: "nbd",
        server:
          "socket" in source.server
            ? { type: "unix", path: source.server.socket }
            : { type: "inet", ...describeHost(source.server) },
        ...(source.exportName === "" ? {} : { export: source.exportName }),
      };
    case "rbd":
      return {
        driver: "rbd",
        pool: source.pool,
        image: source.image,
        ...(source.hosts.length === 0 ? {} : { server: source.hosts.map(describeHost) }),
        ...(source.config === undefined ? {} : { conf: source.config }),
      };
    default:
      return { driver: source.protocol, url: formatUrl(source) };
  }
}

function describeHost({ name, port }: NetworkHost): { host: string; port: string } {
  return { host: name, port: String(port) };
}

/**
 * The source that a `json:` name of QEMU is about, nested (`server: {type}`) or with dots (`server.type`), with or without a raw
 * format around it. Undefined when it says anything else: an option that we do not know may be what makes it another image.
 */
export function readJsonName(name: string): NetworkSource | undefined {
  if (!name.startsWith("json:")) return undefined;
  let options: Options;
  try {
    options = nestOptions(JSON.parse(name.slice("json:".length)) as Options);
  } catch {
    return undefined; // QEMU cuts long names off
  }
  const { driver, file, ...rest } = options;
  const wraps = driver === undefined || driver === "raw" || driver === "qcow2";
  if (wraps && isOptions(file) && Object.keys(rest).length === 0) return readNetworkOptions(file);
  return readNetworkOptions(options);
}

type Options = Readonly<Record<string, unknown>>;

function readNetworkOptions({ driver, ...options }: Options): NetworkSource | undefined {
  if (driver === "nbd") return checkSource(readNbd(options));
  if (driver === "rbd") return checkSource(readRbd(options));
  const { url, ...rest } = options;
  return typeof url === "string" && Object.keys(rest).length === 0 ? parseNetworkPath(url) : undefined;
}

function readNbd({ server, export: name = "", ...rest }: Options): NbdSource | undefined {
  if (!isOptions(server) || typeof name !== "string" || Object.keys(rest).length > 0) return undefined;
  const { type, ...address } = server;
  if (type === "unix" && typeof address["path"] === "string" && Object.keys(address).length === 1) {
    return { protocol: "nbd", server: { socket: address["path"] }, exportName: name };
  }
  const host = type === "inet" ? readHost(address, defaultPorts.nbd) : undefined;
  return host && { protocol: "nbd", server: host, exportName: name };
}

function readRbd({ pool, image, server = [], conf, ...rest }: Options): RbdSource | undefined {
  if (typeof pool !== "string" || typeof image !== "string" || !isOptions(server)) return undefined;
  if (Object.keys(rest).length > 0 || (conf !== undefined && typeof conf !== "string")) return undefined;
  const hosts = Object.values(server).map((host) => (isOptions(host) ? readHost(host, defaultPorts.rbd) : undefined));
  if (!hosts.every((host) => host !== undefined)) return undefined;
  return { protocol: "rbd", pool, image, hosts, ...(conf === undefined ? {} : { config: conf }) };
}

function readHost({ host, port, ...rest }: Options, defaultPort: number): NetworkHost | undefined {
  if (typeof host !== "string" || Object.keys(rest).length > 0) return undefined;
  return { name: host, port: port === undefined ? defaultPort : Number(port) };
}

/** What its own name would not be read back from is none that we could work with. */
function checkSource(source: NetworkSource | undefined): NetworkSource | undefined {
  return source && parseNetworkPath(formatNetworkPath(source));
}

function isOptions(value: unknown): value is Options {
  return typeof value === "object" && value !== null;
}

/** `{"server.type": "unix"}` as `{"server": {"type": "unix"}}`. */
function nestOptions(flat: Options): Options {
  const nested: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [key, value] of Object.entries(flat)) {
    const [first = "", ...rest] = key.split(".");
    if (rest.length === 0) nested[first] = value;
    else nested[first] = { ...(nested[first] as Options | undefined), [rest.join(".")]: value };
  }
  return Object.fromEntries(
    Object.entries(nested).map(([key, value]) => [
      key,
      isOptions(value) && !Array.isArray(value) ? nestOptions(value) : value,
    ]),
  );
}
