/** XML and HTTP bodies as an attacker writes them: bounded time, nothing opened, nothing expanded, no secret repeated. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import type { ErrorCode } from "../../src/base/error-registry.ts";
import { parseDomain } from "../../src/model/domain-parse.ts";
import { parseSnapshotRequest } from "../../src/model/snapshot-parse.ts";
import { maxXmlBytes, readXml } from "../../src/xml/read.ts";

/** Far more than any of these takes on a busy machine, far less than what was quadratic took. */
const patienceMs = 30_000;

function refuse(act: () => unknown, code: ErrorCode): string {
  const startedMs = performance.now();
  let message = "";
  assert.throws(act, (error) => {
    message = isQmError(error) ? error.message : "";
    return isQmError(error, code);
  });
  assert.ok(performance.now() - startedMs < patienceMs);
  return message;
}

test("a DOCTYPE is refused before its entities are looked at, behind a comment that does not end where it seems to, too", () => {
  const bomb = Array.from({ length: 30 }, (_, i) => `<!ENTITY e${i + 1} '${`&e${i};`.repeat(10)}'>`).join("");
  for (const before of ["", "<!--> <x -->", "<!---> <x -->", "<!-- ?> -->", "<?xml version='1.0'?>\n<!-->-->"]) {
    const message = refuse(
      () => readXml(`${before}<!DOCTYPE a [<!ENTITY e0 'x'>${bomb}]><a>&e30;</a>`),
      "QM_XML_FORBIDDEN",
    );
    assert.match(message, /DOCTYPE/, before);
  }
});

test("an external entity, an external DTD and XInclude open no file", () => {
  for (const declaration of [
    "<!ENTITY e SYSTEM 'file:///etc/hostname'>",
    "<!ENTITY % e SYSTEM 'file:///etc/hostname'> %e;",
  ]) {
    refuse(() => readXml(`<!DOCTYPE a [${declaration}]><a>&e;</a>`), "QM_XML_FORBIDDEN");
  }
  refuse(() => readXml("<!DOCTYPE a SYSTEM 'file:///etc/hostname'><a/>"), "QM_XML_FORBIDDEN");
  const include = "<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='file:///etc/hostname' parse='text'/>";
  assert.equal(readXml(`<a>${include}</a>`).children[0]?.text, "");
});

test("deep nesting and documents over the limit are refused, however they are made", () => {
  refuse(() => readXml("<a>".repeat(201) + "</a>".repeat(201)), "QM_XML_FORBIDDEN");
  refuse(() => readXml("<a>".repeat(1_000_000)), "QM_XML_FORBIDDEN");
  refuse(() => readXml(`<a>${"x".repeat(5 * 1024 * 1024)}</a>`), "QM_XML_TOO_LARGE");
  // Fewer characters than the limit, more bytes.
  refuse(() => readXml(`<a>${"€".repeat(maxXmlBytes / 2)}</a>`), "QM_XML_TOO_LARGE");
  refuse(() => readXml(`<a>${"<b/>".repeat(100_001)}</a>`), "QM_XML_FORBIDDEN");
});

test("the largest documents take time in proportion: many namespaces in scope of many elements, many attributes, many disks", () => {
  const namespaces = Array.from({ length: 50_000 }, (_, index) => ` xmlns:n${index}='u'`).join("");
  const disks = "<disk name='a'/>".repeat(50_000);
  const startedMs = performance.now();
  const request = `<domainsnapshot${namespaces}><disks>${disks}</disks></domainsnapshot>`;
  assert.equal(parseSnapshotRequest(request).disks.length, 50_000);
  assert.ok(performance.now() - startedMs < patienceMs);
  const attributes = Array.from({ length: 200_000 }, (_, index) => ` a${index}='u'`).join("");
  refuse(() => parseDomain(`<domain type='kvm'${attributes}/>`), "QM_XML_INVALID");
});

test("a VNC password or a network disk's secret is refused and not repeated", () => {
  const secret = "hunter2-hunter2";
  const domain = (devices: string) =>
    `<domain type='qemu'><name>v</name><memory unit='MiB'>32</memory><os><type arch='x86_64' machine='q35'>hvm</type></os>
     <devices>${devices}</devices></domain>`;
  for (const devices of [
    `<graphics type='vnc' port='-1' autoport='yes' passwd='${secret}'/>`,
    `<disk type='network' device='disk'><driver type='raw'/><source protocol='https' name='x'><host name='h' port='443'/>
     <cookies><cookie name='c'>${secret}</cookie></cookies></source><target dev='vda' bus='virtio'/></disk>`,
    `<disk type='network' device='disk'><driver type='raw'/><auth username='${secret}'><secret type='ceph' usage='${secret}'/></auth>
     <source protocol='rbd' name='p/i'/><target dev='vda' bus='virtio'/></disk>`,
  ]) {
    assert.throws(
      () => parseDomain(domain(devices)),
      (error) =>
        isQmError(error, "QM_XML_UNSUPPORTED") &&
        !JSON.stringify(error).includes(secret) &&
        !String(error.stack).includes(secret),
      devices,
    );
  }
});
