import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { describeNetworkOptions, readJsonName } from "../../src/model/network-options.ts";
import { formatNetworkPath, parseNetworkPath } from "../../src/model/network-source.ts";
import { networkSource } from "./arbitrary-domain.ts";

test("a source's name and QEMU's options for it are read back as the same source", () => {
  fc.assert(
    fc.property(networkSource, (source) => {
      assert.deepEqual(parseNetworkPath(formatNetworkPath(source)), source);
      const options = describeNetworkOptions(source);
      assert.deepEqual(readJsonName(`json:${JSON.stringify(options)}`), source);
      assert.deepEqual(readJsonName(`json:${JSON.stringify({ driver: "raw", file: options })}`), source);
    }),
    { numRuns: 300 },
  );
});

test("names are those that QEMU reads", () => {
  const host = { name: "h", port: 10809 };
  const names = [
    formatNetworkPath({ protocol: "nbd", server: host, exportName: "a b/c?d" }),
    formatNetworkPath({ protocol: "nbd", server: { socket: "/run/x&y" }, exportName: "e" }),
    formatNetworkPath({ protocol: "rbd", pool: "p", image: "i", hosts: [{ name: "::1", port: 3300 }], config: "/c:d" }),
    formatNetworkPath({ protocol: "https", host: { name: "::1", port: 8443 }, file: "x y", query: "a=b" }),
    formatNetworkPath({ protocol: "http", host: { name: "h", port: 80 }, file: "x" }),
  ];
  assert.deepEqual(names, [
    "nbd://h:10809/a%20b/c%3Fd",
    "nbd+unix:///e?socket=/run/x%26y",
    String.raw`rbd:p/i:mon_host=[\:\:1]\:3300:conf=/c\:d`,
    "https://[::1]:8443/x%20y?a=b",
    "http://h/x",
  ]);
});

test("default ports may be told or left out, and options may have dots", () => {
  const nbd = { protocol: "nbd", server: { name: "h", port: 10809 }, exportName: "e" };
  for (const name of ["nbd://h/e", "nbd://h:10809/e"]) assert.deepEqual(parseNetworkPath(name), nbd);
  const web = { protocol: "https", host: { name: "h", port: 443 }, file: "f" };
  for (const name of ["https://h/f", "https://h:443/f"]) assert.deepEqual(parseNetworkPath(name), web);
  const dotted = { driver: "nbd", "server.type": "inet", "server.host": "h", "server.port": "10809", export: "e" };
  assert.deepEqual(readJsonName(`json:${JSON.stringify(dotted)}`), nbd);
  const wrapped = { "file.driver": "nbd", "file.server.host": "h", "file.server.type": "inet", "file.export": "e" };
  assert.deepEqual(readJsonName(`json:${JSON.stringify(wrapped)}`), nbd);
  const monitors = { driver: "rbd", pool: "p", image: "i", "server.0.host": "a", "server.0.port": "1" };
  const rbd = { protocol: "rbd", pool: "p", image: "i", hosts: [{ name: "a", port: 1 }] };
  assert.deepEqual(readJsonName(`json:${JSON.stringify(monitors)}`), rbd);
});

test("what could be another image than it seems is not read", () => {
  const names = [
    "nbd://user@h/e",
    "nbd://h:0/e",
    "nbd://h//e",
    "nbd://h/e?tls=1",
    "nbd+unix:///e?socket=/x&y=1",
    "https://h/a%2Fb",
    "https://h/a#b",
    "https://h/%zz",
    "ftp://h/x",
    "rbd:p/i@snapshot",
    "rbd:p/n/i",
    "rbd:p/i:id=admin",
    "/a/plain/path",
    "",
  ];
  for (const name of names) assert.equal(parseNetworkPath(name), undefined, name);
  const options = [
    { driver: "nbd", server: { type: "inet", host: "h", port: "1" }, "tls-creds": "t" },
    { driver: "nbd", server: { type: "unix", path: "/x", abstract: true } },
    { driver: "nbd", server: { type: "inet", host: "h", port: "1", to: 9 } },
    { driver: "raw", offset: 512, file: { driver: "nbd", server: { type: "unix", path: "/x" } } },
    { driver: "rbd", pool: "p", image: "i", snapshot: "s" },
    { driver: "https", url: "https://h/x", cookie: "c" },
    { driver: "null-co" },
    null,
  ];
  for (const one of options) assert.equal(readJsonName(`json:${JSON.stringify(one)}`), undefined, JSON.stringify(one));
  assert.equal(readJsonName('json:{"driver":"nbd"'), undefined);
});
