/** Images on the network as a running QEMU calls them. */
import { readJsonName } from "../model/network-options.ts";
import { defaultPorts, formatNetworkPath, parseNetworkPath, type NetworkSource } from "../model/network-source.ts";

/** The source that the name of a node with the driver `driver` tells; undefined where it is not plain. */
export function readNetworkName(driver: string, name: string): NetworkSource | undefined {
  if (name.startsWith("json:")) return readJsonName(name);
  return driver === "nbd" ? readNbdName(name) : parseNetworkPath(name);
}

/** QEMU puts the parts of an NBD name together as they are, without quoting. */
function readNbdName(name: string): NetworkSource | undefined {
  const [, exportOnSocket, socket] = /^nbd\+unix:\/\/\/?(.*)\?socket=(.*)$/s.exec(name) ?? [];
  const [, host, port, exportName = ""] = /^nbd:\/\/([^/]+?)(?::(\d+))?(?:\/(.*))?$/s.exec(name) ?? [];
  const source: NetworkSource | undefined =
    exportOnSocket !== undefined && socket !== undefined
      ? { protocol: "nbd", server: { socket }, exportName: exportOnSocket }
      : host === undefined
        ? undefined
        : {
            protocol: "nbd",
            server: { name: host.replaceAll(/^\[|\]$/g, ""), port: Number(port ?? defaultPorts.nbd) },
            exportName,
          };
  return source && parseNetworkPath(formatNetworkPath(source));
}
