/** Images on the network: what names them, and the one line of text that is each one's identity and its name in a qcow2 header. */
import { isIPv6 } from "node:net";

export type NetworkSource = NbdSource | RbdSource | HttpSource;

export interface NetworkHost {
  /** A name or an IP address, without brackets. */
  readonly name: string;
  readonly port: number;
}

export interface NbdSource {
  readonly protocol: "nbd";
  /** A TCP address, or the path of a UNIX socket. */
  readonly server: NetworkHost | { readonly socket: string };
  /** Name of the export, without a leading `/`; empty: the server's default one. */
  readonly exportName: string;
}

/** Without `<auth>`: what the configuration file says of keys is Ceph's business. */
export interface RbdSource {
  readonly protocol: "rbd";
  readonly pool: string;
  readonly image: string;
  /** Monitors; empty: those of the configuration file. */
  readonly hosts: readonly NetworkHost[];
  /** Path of a configuration file; absent: Ceph's own default. */
  readonly config?: string;
}

/** Read-only: nothing can be written by these protocols. */
export interface HttpSource {
  readonly protocol: "http" | "https";
  readonly host: NetworkHost;
  /** Below the host, decoded, without its leading `/`. */
  readonly file: string;
  /** What follows `?`, as it stands. */
  readonly query?: string;
}

export const networkProtocols = ["nbd", "rbd", "http", "https"] as const satisfies readonly NetworkSource["protocol"][];

/** Ports that need not be told. An rbd monitor's is told always: it differs between versions of its protocol. */
export const defaultPorts = { nbd: 10809, rbd: 6789, http: 80, https: 443 } as const;

/**
 * The image's name as QEMU reads it too: `nbd://host:10809/export`, `nbd+unix:///export?socket=/run/x.sock`,
 * `rbd:pool/image:mon_host=a\:6789`, `https://host/file?query`. Two names are equal when the images are.
 */
export function formatNetworkPath(source: NetworkSource): string {
  switch (source.protocol) {
    case "nbd":
      return "socket" in source.server
        ? `nbd+unix:///${encodePath(source.exportName)}?socket=${encodeQueryPath(source.server.socket)}`
        : `nbd://${formatHost(source.server)}/${encodePath(source.exportName)}`;
    case "rbd": {
      const monitors = source.hosts.map(formatHost).join(";");
      return [
        `rbd:${source.pool}/${source.image}`,
        ...(monitors === "" ? [] : [`mon_host=${escapeRbd(monitors)}`]),
        ...(source.config === undefined ? [] : [`conf=${escapeRbd(source.config)}`]),
      ].join(":");
    }
    default:
      return formatUrl(source);
  }
}

/** `http` and `https` alone; the default port is left out. */
export function formatUrl({ protocol, host, file, query }: HttpSource): string {
  const server = host.port === defaultPorts[protocol] ? formatHostName(host.name) : formatHost(host);
  return `${protocol}://${server}/${encodePath(file)}${query === undefined ? "" : `?${query}`}`;
}

/**
 * Reads what {@link formatNetworkPath} gives, and the same with a default port told or left out. Undefined for all else: other
 * protocols and options, and names that would come out different.
 */
export function parseNetworkPath(path: string): NetworkSource | undefined {
  try {
    const source = readNbdUnix(path) ?? readNbd(path) ?? readRbd(path) ?? readUrl(path);
    if (source === undefined || !isSameName(path, formatNetworkPath(source))) return undefined;
    // QEMU drops every slash before the name of an export.
    return source.protocol === "nbd" && source.exportName.startsWith("/") ? undefined : source;
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

function isSameName(given: string, canonical: string): boolean {
  const plain = (name: string): string =>
    name
      .replace(/^(http:\/\/[^/]*):80\/|^(https:\/\/[^/]*):443\//, "$1$2/")
      .replace(/^(nbd:\/\/[^/]*):10809(\/|$)/, "$1$2");
  return plain(given).replace(/\/$/, "") === plain(canonical).replace(/\/$/, "");
}

function readNbdUnix(path: string): NbdSource | undefined {
  const [, name, socket] = /^nbd\+unix:\/\/\/([^?]*)\?socket=([^&]+)$/.exec(path) ?? [];
  if (name === undefined || socket === undefined) return undefined;
  return { protocol: "nbd", server: { socket: decodeURIComponent(socket) }, exportName: decodeURIComponent(name) };
}

function readNbd(path: string): NbdSource | undefined {
  const [, server, name = ""] = /^nbd:\/\/([^/?]+)(?:\/([^?]*))?$/.exec(path) ?? [];
  const host = readHost(server, defaultPorts.nbd);
  return host && { protocol: "nbd", server: host, exportName: decodeURIComponent(name) };
}

function readUrl(path: string): HttpSource | undefined {
  const [, scheme, server, file, query] = /^(https?):\/\/([^/?]+)\/([^?]*)(?:\?([^#]*))?$/.exec(path) ?? [];
  const protocol = scheme === "http" || scheme === "https" ? scheme : undefined;
  const host = protocol && readHost(server, defaultPorts[protocol]);
  if (protocol === undefined || host === undefined || file === undefined) return undefined;
  return { protocol, host, file: decodeURIComponent(file), ...(query === undefined ? {} : { query }) };
}

function readRbd(path: string): RbdSource | undefined {
  const [, pool, image, rest] = /^rbd:([^/:@\\]+)\/([^/:@\\]+)((?::.*)?)$/.exec(path) ?? [];
  if (pool === undefined || image === undefined || rest === undefined) return undefined;
  const options = [...rest.matchAll(/:([a-z_]+)=((?:\\.|[^\\:])*)/g)].map(
    ([, key = "", value = ""]) => [key, value.replaceAll(/\\(.)/g, "$1")] as const,
  );
  if (options.some(([key]) => key !== "mon_host" && key !== "conf")) return undefined;
  const { mon_host: monitors, conf: config } = Object.fromEntries(options) as { mon_host?: string; conf?: string };
  const hosts = monitors?.split(";").map((monitor) => readHost(monitor, undefined)) ?? [];
  if (!hosts.every((host) => host !== undefined)) return undefined;
  return { protocol: "rbd", pool, image, hosts, ...(config === undefined ? {} : { config }) };
}

function readHost(text: string | undefined, defaultPort: number | undefined): NetworkHost | undefined {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:[\]@]+))(?::(\d{1,5}))?$/.exec(text ?? "") ?? [];
  const name = bracketed ?? plain;
  const number = port === undefined ? defaultPort : Number(port);
  return name === undefined || number === undefined || !isHostName(name) || !isPort(number)
    ? undefined
    : { name, port: number };
}

export function isHostName(text: string): boolean {
  return isIPv6(text) ? !text.includes("%") : /^[A-Za-z0-9]([A-Za-z0-9._-]*)$/.test(text) && text.length <= 253;
}

export function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65535;
}

function formatHost({ name, port }: NetworkHost): string {
  return `${formatHostName(name)}:${port}`;
}

function formatHostName(name: string): string {
  return name.includes(":") ? `[${name}]` : name;
}

/** Only what a URI's path cannot hold. */
function encodePath(text: string): string {
  return encodeURI(text).replaceAll(/[?#]/g, encodeURIComponent);
}

function encodeQueryPath(path: string): string {
  return encodeURIComponent(path).replaceAll("%2F", "/");
}

/** rbd's own quoting, in options after the image's name. */
function escapeRbd(text: string): string {
  return text.replaceAll(/[\\:]/g, "\\$&");
}
