import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { isQmError } from "../../src/base/errors.ts";
import { validateXml, type SchemaName } from "../../src/xml/validate.ts";

const fixtures = new URL("../fixtures/xml/", import.meta.url);
const usual = readFileSync(new URL("domain/usual.out.xml", fixtures), "utf8");
const mirrored = readFileSync(new URL("domainsnapshot/long-mirror.out.xml", fixtures), "utf8");

/** Each change breaks one rule of the schema. */
const mutations: readonly (readonly [SchemaName, string, string])[] = [
  ["domain", "<domain type='kvm'>", "<domain type='xen'>"],
  ["domain", "<domain type='kvm'>", "<domain type='kvm' extra='1'>"],
  ["domain", "c7a5fdbd-", "C7A5FDBD-"],
  ["domain", "<on_crash>destroy", "<on_crash>preserve"],
  ["domain", "bus='virtio'", "bus='ide'"],
  ["domain", "type='qcow2' cache='none'", "type='vmdk' cache='none'"],
  ["domain", "file='/srv/vm/web.qcow2'", "file='web.qcow2'"],
  ["domain", "<source dev='/dev/vg0/data'/>", "<source file='/dev/vg0/data'/>"],
  ["domain", "52:54:00:aa:bb:01", "53:54:00:aa:bb:01"],
  ["domain", "    <memballoon model='none'/>\n", ""],
  ["domain", "<acpi/>", "<pae/>"],
  ["domainsnapshot", "<state>disk-snapshot", "<state>crashed"],
  ["domainsnapshot", "<memory snapshot='no'/>", "<memory snapshot='no' file='/m'/>"],
  ["domainsnapshot", "<name>s2", "<name>s/2"],
  ["domainsnapshot", "ready='yes'", "ready='no'"],
  ["domainsnapshot", "<mirror type='file'", "<mirror type='block'"],
  ["domainsnapshot", "<source file='/ssd/vda.s2'/>", "<source file='/ssd/vda.s2'><seclabel/></source>"],
  ["domainsnapshot", "<driver type='qcow2'/>", "<driver type='raw'/>"],
  ["domainsnapshot", "<disk name='sda' snapshot='no'/>", "<disk name='sda' snapshot='both'/>"],
  ["domainsnapshot", "snapshot='external' type='block'", "snapshot='no' type='block'"],
];

for (const [schema, from, to] of mutations) {
  test(`${schema}.rng refuses ${to === "" ? `what lacks ${from.trim()}` : to}`, () => {
    const valid = schema === "domain" ? usual : mirrored;
    validateXml(valid, schema);
    const broken = valid.replace(from, to);
    assert.notEqual(broken, valid, "the fixture still holds what is to be changed");
    assert.throws(
      () => validateXml(broken, schema),
      (error) => isQmError(error, "QM_XML_INVALID") && Number(error.fields["line"]) > 0,
    );
  });
}

test("what readXml refuses is not validated either", () => {
  assert.throws(
    () => validateXml("<!DOCTYPE domain><domain/>", "domain"),
    (error) => isQmError(error, "QM_XML_FORBIDDEN"),
  );
});
