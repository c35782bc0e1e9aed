/** Procedures about the connection and the host. */
import {
  charArray,
  flagBits,
  flagSet,
  int,
  list,
  optional,
  string,
  struct,
  truth,
  uhyper,
  uint,
} from "../xdr/index.ts";
import { procedure } from "./procedure.ts";
import { domain, maxListItems, params } from "./types.ts";

export const connectOpen = procedure(1, "connect_open", { uri: optional(string), flags: flagSet({ readOnly: 1 }) }, {});
export const connectClose = procedure(2, "connect_close", {}, {});
export const connectGetType = procedure(3, "connect_get_type", {}, { type: string });
/** Versions are 1,000,000 * major + 1,000 * minor + release. */
export const connectGetVersion = procedure(4, "connect_get_version", {}, { version: uhyper });
export const connectGetMaxVcpus = procedure(5, "connect_get_max_vcpus", { type: optional(string) }, { maxVcpus: int });
export const nodeGetInfo = procedure(
  6,
  "node_get_info",
  {},
  {
    model: charArray(32),
    memoryKib: uhyper,
    cpus: int,
    mhz: int,
    nodes: int,
    sockets: int,
    cores: int,
    threads: int,
  },
);
export const connectGetCapabilities = procedure(7, "connect_get_capabilities", {}, { xml: string });
export const connectGetHostname = procedure(59, "connect_get_hostname", {}, { hostname: string });
export const connectSupportsFeature = procedure(60, "connect_supports_feature", { feature: int }, { supported: truth });
export const authList = procedure(66, "auth_list", {}, { types: list(int, 20) });
export const nodeGetFreeMemory = procedure(102, "node_get_free_memory", {}, { freeBytes: uhyper });
export const connectGetUri = procedure(110, "connect_get_uri", {}, { uri: string });
export const nodeGetSecurityModel = procedure(
  122,
  "node_get_security_model",
  {},
  { model: list(int, 256), doi: list(int, 256) },
);
export const connectIsSecure = procedure(149, "connect_is_secure", {}, { secure: truth });
export const connectGetLibVersion = procedure(157, "connect_get_lib_version", {}, { version: uhyper });
export const connectRegisterCloseCallback = procedure(360, "connect_register_close_callback", {}, {});
export const connectUnregisterCloseCallback = procedure(361, "connect_unregister_close_callback", {}, {});

/** Numbers of the features that `connectSupportsFeature` asks for. */
export const features = { keepalive: 10, eventCallbacks: 14, closeCallbacks: 15 } as const;

// Domains of the host
export const connectNumOfDomains = procedure(51, "connect_num_of_domains", {}, { count: int });
export const connectListDomains = procedure(37, "connect_list_domains", { max: int }, { ids: list(int, maxListItems) });
export const connectNumOfDefinedDomains = procedure(25, "connect_num_of_defined_domains", {}, { count: int });
export const connectListDefinedDomains = procedure(
  21,
  "connect_list_defined_domains",
  { max: int },
  { names: list(string, maxListItems) },
);
/** Conditions of one kind are alternatives; those of different kinds must all hold. */
export const connectListAllDomains = procedure(
  273,
  "connect_list_all_domains",
  {
    wanted: truth,
    flags: flagSet({
      ...{ active: 1 << 0, inactive: 1 << 1, persistent: 1 << 2, transient: 1 << 3 },
      ...{ running: 1 << 4, paused: 1 << 5, shutOff: 1 << 6, other: 1 << 7 },
      ...{ managedSave: 1 << 8, noManagedSave: 1 << 9, autostart: 1 << 10, noAutostart: 1 << 11 },
      ...{ hasSnapshot: 1 << 12, noSnapshot: 1 << 13, hasCheckpoint: 1 << 14, noCheckpoint: 1 << 15 },
    }),
  },
  { domains: list(domain, maxListItems), count: uint },
);

/** Statistics of one domain. */
const maxStats = 262_144;
const statGroups = { state: 1 << 0, cpu: 1 << 1, balloon: 1 << 2, vcpu: 1 << 3, interface: 1 << 4, block: 1 << 5 };
export const connectGetAllDomainStats = procedure(
  344,
  "connect_get_all_domain_stats",
  {
    domains: list(domain, maxListItems),
    groups: flagSet({ ...statGroups, perf: 1 << 6, iothread: 1 << 7, memory: 1 << 8, dirtyRate: 1 << 9, vm: 1 << 10 }),
    flags: flagSet({
      ...{ active: 1 << 0, inactive: 1 << 1, persistent: 1 << 2, transient: 1 << 3 },
      ...{ running: 1 << 4, paused: 1 << 5, shutOff: 1 << 6, other: 1 << 7 },
      ...{ noWait: 1 << 29, backing: 1 << 30, enforce: (1 << 31) >>> 0 },
    }),
  },
  { records: list(struct({ domain, params: params(maxStats) }), maxListItems) },
);

/** Kinds of things that this host has none of: their lists are empty, whatever the flags let through. */
export const emptyLists = (
  [
    [281, "connect_list_all_storage_pools", 20],
    [283, "connect_list_all_networks", 6],
    [284, "connect_list_all_interfaces", 2],
    [285, "connect_list_all_node_devices", 32],
    [286, "connect_list_all_nwfilters", 0],
    [287, "connect_list_all_secrets", 4],
    [401, "connect_list_all_nwfilter_bindings", 0],
  ] as const
).map(([number, name, flags]) =>
  procedure(number, name, { wanted: truth, flags: flagBits(flags) }, { items: list(string, 0), count: uint }),
);
