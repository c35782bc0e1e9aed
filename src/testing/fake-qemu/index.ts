export { type FakeDevice, type MirrorStyle } from "./block-devices.ts";
export { startFakeQemu, type FakeQemu, type FakeQemuOptions, type LoggedCommand } from "./fake-qemu.ts";
export { type FaultHandle, type Faults } from "./faults.ts";
