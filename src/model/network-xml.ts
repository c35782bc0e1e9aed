/** `<source protocol=…>` of images on the network, as libvirt writes it. */
import type { ElementReader } from "../xml/element-reader.ts";
import { makeElement, type XmlElement } from "../xml/element.ts";
import { readCount } from "./memory-size.ts";
import { checkPath, checkText } from "./names.ts";
import {
  defaultPorts,
  formatNetworkPath,
  isHostName,
  isPort,
  networkProtocols,
  type HttpSource,
  type NbdSource,
  type NetworkHost,
  type NetworkSource,
  type RbdSource,
} from "./network-source.ts";

/** A qcow2 header holds no longer name of a backing file. */
const maxPathBytes = 1023;

/**
 * Reads the source of a network disk. Keys and secrets (`<auth>`, `<cookies>`, `tls='yes'`) are refused by name, as everything is
 * that nobody here reads.
 */
export function readNetworkSource(source: ElementReader): NetworkSource {
  source.ignore("@index");
  const protocol = source.choice("protocol", networkProtocols) ?? source.fail("is missing", "@protocol");
  const network =
    protocol === "nbd" ? readNbd(source) : protocol === "rbd" ? readRbd(source) : readHttp(source, protocol);
  checkText(formatNetworkPath(network), source.path, maxPathBytes);
  return network;
}

function readNbd(source: ElementReader): NbdSource {
  const exportName = readName(source, "name") ?? "";
  source.choice("tls", ["no"]);
  const server = source.requireChild("host", (host) => {
    if (host.choice("transport", ["tcp", "unix"] as const) !== "unix") return readHost(host, "nbd");
    return { socket: checkPath(host.requireAttribute("socket"), `${host.path}@socket`) };
  });
  return { protocol: "nbd", server, exportName };
}

function readRbd(source: ElementReader): RbdSource {
  const name = source.requireAttribute("name");
  // Also what rbd's own quoting of names would need, and its namespaces and snapshots.
  const [, pool, image] = /^([\w.+-]+)\/([\w.+-]+)$/.exec(name) ?? [];
  if (pool === undefined || image === undefined) return source.fail(`'${name}' is not POOL/IMAGE`, "@name");
  const hosts = source.children("host", (host) => readHost(host, "rbd"));
  const config = source.child("config", (e) => checkPath(e.requireAttribute("file"), `${e.path}@file`));
  return { protocol: "rbd", pool, image, hosts, ...(config === undefined ? {} : { config }) };
}

function readHttp(source: ElementReader, protocol: HttpSource["protocol"]): HttpSource {
  const file = readName(source, "name") ?? source.fail("is missing", "@name");
  const query = source.attribute("query");
  if (query !== undefined && !/^[\w.~:/?@!$&'()*+,;=%-]+$/.test(query)) source.fail("is not a query", "@query");
  const host = source.requireChild("host", (e) => readHost(e, protocol));
  if (protocol === "https") source.child("ssl", (ssl) => ssl.choice("verify", ["yes"]));
  return { protocol, host, file, ...(query === undefined ? {} : { query }) };
}

/** libvirt takes `/x` for `x`, as QEMU does. */
function readName(source: ElementReader, key: string): string | undefined {
  const name = source.attribute(key);
  return name === undefined ? undefined : checkText(name.replace(/^\/+/, ""), `${source.path}@${key}`, maxPathBytes);
}

function readHost(host: ElementReader, protocol: NetworkSource["protocol"]): NetworkHost {
  host.choice("transport", ["tcp"]);
  const name = host.requireAttribute("name");
  if (!isHostName(name)) host.fail(`'${name}' is not a host's name or address`, "@name");
  const portText = host.attribute("port");
  const port = portText === undefined ? defaultPorts[protocol] : readCount(host, portText, "@port");
  return isPort(port) ? { name, port } : host.fail("must be 1 to 65535", "@port");
}

export function formatNetworkSource(source: NetworkSource, index: number | undefined): XmlElement {
  switch (source.protocol) {
    case "nbd":
      return makeElement("source", { protocol: "nbd", name: source.exportName || undefined, index }, [
        "socket" in source.server
          ? makeElement("host", { transport: "unix", socket: source.server.socket })
          : formatHost(source.server),
      ]);
    case "rbd":
      return makeElement("source", { protocol: "rbd", name: `${source.pool}/${source.image}`, index }, [
        ...source.hosts.map(formatHost),
        source.config === undefined ? undefined : makeElement("config", { file: source.config }),
      ]);
    default: {
      const { protocol, file: name, query, host } = source;
      return makeElement("source", { protocol, name, query, index }, [formatHost(host)]);
    }
  }
}

function formatHost({ name, port }: NetworkHost): XmlElement {
  return makeElement("host", { name, port });
}
