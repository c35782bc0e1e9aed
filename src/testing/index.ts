/** For tests of programs that talk to QEMU: a fake QEMU, a proxy that cuts QMP, and a guest that reports every write. */
export * from "./fake-qemu/index.ts";
export { startQmpProxy, type QmpProxy } from "./qmp-proxy.ts";
export { checkCommand, loadSchema } from "./schema-check.ts";
export type { RecordedSchema } from "./schema-types.ts";
export { checkImages, type WitnessCheck, type WitnessImage, type WitnessVerdict } from "./witness/check-images.ts";
export { followSerial, readSerialLog, type AcknowledgedWrite, type WitnessReport } from "./witness/serial-log.ts";
export { makeWitnessDomain, type WitnessDomain, type WitnessDomainOptions } from "./witness/witness-domain.ts";
