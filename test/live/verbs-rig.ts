/** The service's parts below its facade, over temporary directories: for verbs and what a daemon's death leaves of them. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStore, type Store } from "../../src/journal/store.ts";
import { connectMonitor, type Monitor } from "../../src/qemu/monitor.ts";
import { dialectByName } from "../../src/qemu/mirror-dialect/index.ts";
import type { DomainEntry } from "../../src/service/domain-entry.ts";
import { DomainLifecycle, type LifecycleDeps } from "../../src/service/domain-lifecycle.ts";
import { DomainRegistry } from "../../src/service/domain-registry.ts";
import { EventLog } from "../../src/service/event-log.ts";
import { machineOf } from "../../src/service/machine.ts";
import { MonitorWatch } from "../../src/service/monitor-watch.ts";
import { Operations } from "../../src/service/operations.ts";
import { silentLogger } from "./witness-rig.ts";

export class VerbsRig {
  readonly directory = mkdtempSync(join(tmpdir(), "qmirror-verbs-"));
  readonly #eyes: Monitor[] = [];
  #opened: { store: Store; closing: AbortController; deps: LifecycleDeps; lifecycle: DomainLifecycle };

  constructor() {
    mkdirSync(this.path("run"));
    this.#opened = this.#open();
  }

  path(...names: string[]): string {
    return join(this.directory, ...names);
  }

  get deps(): LifecycleDeps {
    return this.#opened.deps;
  }

  get lifecycle(): DomainLifecycle {
    return this.#opened.lifecycle;
  }

  get store(): Store {
    return this.#opened.store;
  }

  createImage(name: string, size = "8M"): string {
    execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", this.path(name), size]);
    return this.path(name);
  }

  /** A domain without a guest, with a second monitor for the test. */
  domainXml(name: string, options: { machine?: string; memoryMib?: number; devices?: string } = {}): string {
    const { machine = "q35", memoryMib = 32, devices = "" } = options;
    return `<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>${name}</name>
      <uuid>6ba7b810-9dad-41d1-80b4-00c04fd430c8</uuid>
      <memory unit='MiB'>${memoryMib}</memory><vcpu>1</vcpu>
      <os><type arch='x86_64' machine='${machine}'>hvm</type></os><features><acpi/></features>
      <devices>${devices}</devices><qemu:commandline><qemu:arg value='-qmp'/>
      <qemu:arg value='unix:${this.path("eye")},server=on,wait=off'/></qemu:commandline></domain>`;
  }

  diskXml(target: string, path: string, bus = "virtio"): string {
    return `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${path}'/>
      <target dev='${target}' bus='${bus}'/></disk>`;
  }

  async start(xml: string): Promise<DomainEntry> {
    const entry = this.lifecycle.define(xml);
    await this.lifecycle.start(entry);
    return entry;
  }

  /** The test's own monitor. */
  async watch(): Promise<Monitor> {
    const eye = await connectMonitor(this.path("eye"));
    this.#eyes.push(eye);
    return eye;
  }

  events(): string[] {
    return this.store.events.after(0, 500).map(({ detail }) => String((detail as Record<string, unknown>)["event"]));
  }

  /** As a daemon that died and was started again; the domain's entry is a new one. */
  async reopen(domain: string): Promise<{ entry: DomainEntry; found: "connected" | "gone" }> {
    await this.#letGo();
    this.#opened = this.#open();
    const entry = this.deps.registry.get(domain);
    return { entry, found: await this.lifecycle.reconnect(entry) };
  }

  async close(): Promise<void> {
    for (const entry of this.deps.registry.list()) if (entry.run !== undefined) await this.lifecycle.destroy(entry);
    await this.#letGo();
    for (const eye of this.#eyes) await eye.close();
    rmSync(this.directory, { recursive: true });
  }

  #open() {
    const store = openStore(this.path("state.db"));
    const closing = new AbortController();
    const registry = new DomainRegistry(store);
    const base = { store, registry, events: new EventLog(store), logger: silentLogger, closing: closing.signal };
    const operations = new Operations({
      ...base,
      dialectByName: (name) => dialectByName(name, () => Promise.reject(new Error("no images are made here"))),
      machine: (entry) => machineOf(deps, entry),
      fault: () => Promise.resolve(),
    });
    const watched = { ...base, operations };
    const deps: LifecycleDeps = { ...watched, watch: new MonitorWatch(watched), runtimeDir: this.path("run") };
    return { store, closing, deps, lifecycle: new DomainLifecycle(deps) };
  }

  async #letGo(): Promise<void> {
    this.#opened.closing.abort();
    for (const { monitor } of this.deps.registry.list()) await monitor?.close();
    this.store.close();
  }
}
