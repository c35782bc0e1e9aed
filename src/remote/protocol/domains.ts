/** Procedures about one domain. Unless said otherwise, sizes are KiB where a name says so. */
import { flagSet, hyper, int, list, optional, string, truth, uhyper, uint, uuid } from "../xdr/index.ts";
import { procedure } from "./procedure.ts";
import { domain, params, scopeFlags } from "./types.ts";

// Found
export const domainLookupById = procedure(22, "domain_lookup_by_id", { id: int }, { domain });
export const domainLookupByName = procedure(23, "domain_lookup_by_name", { name: string }, { domain });
export const domainLookupByUuid = procedure(24, "domain_lookup_by_uuid", { uuid }, { domain });

// Made, started and ended
const noFlags = flagSet();
const startFlags = flagSet({ validate: 1 << 4 });
export const domainCreate = procedure(9, "domain_create", { domain }, {});
export const domainCreateXml = procedure(10, "domain_create_xml", { xml: string, flags: startFlags }, { domain });
export const domainDefineXml = procedure(11, "domain_define_xml", { xml: string }, { domain });
export const domainDestroy = procedure(12, "domain_destroy", { domain }, {});
export const domainReboot = procedure(
  27,
  "domain_reboot",
  { domain, flags: flagSet({ acpi: 1 << 0, agent: 1 << 1 }) },
  {},
);
export const domainResume = procedure(28, "domain_resume", { domain }, {});
export const domainShutdown = procedure(33, "domain_shutdown", { domain }, {});
export const domainSuspend = procedure(34, "domain_suspend", { domain }, {});
export const domainUndefine = procedure(35, "domain_undefine", { domain }, {});
export const domainCreateWithFlags = procedure(196, "domain_create_with_flags", { domain, flags: noFlags }, { domain });
export const domainUndefineFlags = procedure(
  231,
  "domain_undefine_flags",
  { domain, flags: flagSet({ managedSave: 1 << 0, snapshotsMetadata: 1 << 1, checkpointsMetadata: 1 << 4 }) },
  {},
);
/** `graceful` asks to end QEMU with no more than SIGTERM. */
export const domainDestroyFlags = procedure(
  234,
  "domain_destroy_flags",
  { domain, flags: flagSet({ graceful: 1 << 0 }) },
  {},
);
export const domainShutdownFlags = procedure(
  258,
  "domain_shutdown_flags",
  { domain, flags: flagSet({ acpi: 1 << 0, agent: 1 << 1 }) },
  {},
);
export const domainDefineXmlFlags = procedure(
  350,
  "domain_define_xml_flags",
  { xml: string, flags: flagSet({ validate: 1 << 0 }) },
  { domain },
);
export const domainRename = procedure(
  358,
  "domain_rename",
  { domain, newName: optional(string), flags: noFlags },
  { result: int },
);

// Told about
export const domainGetXmlDesc = procedure(
  14,
  "domain_get_xml_desc",
  { domain, flags: flagSet({ secure: 1 << 0, inactive: 1 << 1 }) },
  { xml: string },
);
export const domainGetAutostart = procedure(15, "domain_get_autostart", { domain }, { autostart: truth });
export const domainGetInfo = procedure(
  16,
  "domain_get_info",
  { domain },
  { state: uint, maxMemoryKib: uhyper, memoryKib: uhyper, vcpus: uint, cpuTimeNs: uhyper },
);
export const domainGetMaxMemory = procedure(17, "domain_get_max_memory", { domain }, { memoryKib: uhyper });
export const domainGetMaxVcpus = procedure(18, "domain_get_max_vcpus", { domain }, { count: int });
export const domainGetOsType = procedure(19, "domain_get_os_type", { domain }, { type: string });
export const domainSetAutostart = procedure(29, "domain_set_autostart", { domain, autostart: truth }, {});
export const domainGetSecurityLabel = procedure(
  121,
  "domain_get_security_label",
  { domain },
  { label: list(int, 4097), enforcing: truth },
);
export const domainIsActive = procedure(150, "domain_is_active", { domain }, { active: truth });
export const domainIsPersistent = procedure(151, "domain_is_persistent", { domain }, { persistent: truth });
export const domainHasManagedSaveImage = procedure(
  183,
  "domain_has_managed_save_image",
  { domain, flags: noFlags },
  { result: truth },
);
export const domainGetVcpusFlags = procedure(
  200,
  "domain_get_vcpus_flags",
  { domain, flags: flagSet({ ...scopeFlags, maximum: 1 << 2 }) },
  { count: int },
);
export const domainIsUpdated = procedure(202, "domain_is_updated", { domain }, { updated: truth });
export const domainGetState = procedure(
  212,
  "domain_get_state",
  { domain, flags: noFlags },
  { state: int, reason: int },
);
export const domainGetControlInfo = procedure(
  229,
  "domain_get_control_info",
  { domain, flags: noFlags },
  { state: uint, details: uint, stateTimeMs: uhyper },
);
export const domainGetMessages = procedure(
  426,
  "domain_get_messages",
  { domain, flags: flagSet({ deprecation: 1 << 0, tainting: 1 << 1 }) },
  { messages: list(string, 2048) },
);

// Its memory in a file
const saveFlags = flagSet({ running: 1 << 1, paused: 1 << 2 });
export const domainRestore = procedure(54, "domain_restore", { from: string }, {});
export const domainSave = procedure(55, "domain_save", { domain, to: string }, {});
export const domainSaveFlags = procedure(
  232,
  "domain_save_flags",
  { domain, to: string, xml: optional(string), flags: saveFlags },
  {},
);
export const domainRestoreFlags = procedure(
  233,
  "domain_restore_flags",
  { from: string, xml: optional(string), flags: saveFlags },
  {},
);

// Its disks
export const domainBlockStats = procedure(
  64,
  "domain_block_stats",
  { domain, path: string },
  { readRequests: hyper, readBytes: hyper, writeRequests: hyper, writeBytes: hyper, errors: hyper },
);
/** With `count` 0 it asks for the number of parameters only. */
export const domainBlockStatsFlags = procedure(
  243,
  "domain_block_stats_flags",
  { domain, path: string, count: int, flags: flagSet({ typedStrings: 1 << 2 }) },
  { params: params(16), count: int },
);
export const domainGetBlockInfo = procedure(
  194,
  "domain_get_block_info",
  { domain, path: string, flags: noFlags },
  { allocationBytes: uhyper, capacityBytes: uhyper, physicalBytes: uhyper },
);
/** Without `bytes`, `size` is KiB. */
export const domainBlockResize = procedure(
  251,
  "domain_block_resize",
  { domain, disk: string, size: uhyper, flags: flagSet({ bytes: 1 << 0 }) },
  {},
);
export const domainGetDiskErrors = procedure(
  263,
  "domain_get_disk_errors",
  { domain, max: uint, flags: noFlags },
  { errors: list(int, 256), count: int },
);
const deviceFlags = flagSet(scopeFlags);
export const domainAttachDevice = procedure(8, "domain_attach_device", { domain, xml: string }, {});
export const domainDetachDevice = procedure(13, "domain_detach_device", { domain, xml: string }, {});
export const domainAttachDeviceFlags = procedure(
  160,
  "domain_attach_device_flags",
  { domain, xml: string, flags: deviceFlags },
  {},
);
export const domainDetachDeviceFlags = procedure(
  161,
  "domain_detach_device_flags",
  { domain, xml: string, flags: deviceFlags },
  {},
);

// Its file systems
const mountpoints = list(string, 256);
export const domainFsFreeze = procedure(
  335,
  "domain_fsfreeze",
  { domain, mountpoints, flags: noFlags },
  { filesystems: int },
);
export const domainFsThaw = procedure(
  336,
  "domain_fsthaw",
  { domain, mountpoints, flags: noFlags },
  { filesystems: int },
);

// Its job as a whole
export const domainGetJobStats = procedure(
  298,
  "domain_get_job_stats",
  { domain, flags: flagSet({ completed: 1 << 0, keepCompleted: 1 << 1 }) },
  { type: int, params: params(64) },
);
export const domainAbortJob = procedure(164, "domain_abort_job", { domain }, {});
