export { connectAgent, type AgentConnectOptions, type GuestAgentChannel } from "./agent.ts";
export * from "./client-types.ts";
export { connectQmp, type QmpConnectOptions } from "./connect.ts";
export { defaultMaxLineBytes } from "./framing.ts";
