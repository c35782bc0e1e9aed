export { createRemoteServers, type RemoteServerOptions, type RemoteServers } from "./server/server.ts";
export type { HostFacts } from "./server/served.ts";
