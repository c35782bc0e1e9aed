import type { ElementReader } from "../xml/element-reader.ts";
import { inputBuses, inputTypes, rngSources, videoModels, type Hardware, type InputDevice } from "./hardware.ts";

/** Reads what of `<devices>` is about {@link Hardware}; `usb` is the model of its usb controller. */
export function parseHardware(devices: ElementReader, usb: "qemu-xhci" | "none" | undefined): Hardware {
  const inputs = devices.children("input", parseInput).filter((input) => input !== undefined);
  if (usb === "none" && inputs.some(({ bus }) => bus === "usb")) devices.fail("has a usb device and no usb", "/input");
  const video = devices.child("video", (e) => e.requireChild("model", parseVideoModel));
  const balloon = devices.child("memballoon", parseBalloon);
  const rng = devices.child("rng", parseRng);
  devices.children("audio", (audio) => {
    audio.ignore("@id");
    return audio.choice("type", ["none"]) ?? audio.fail("is missing", "@type");
  });
  return {
    ...(usb === "qemu-xhci" ? { usb } : {}),
    ...(inputs.length === 0 ? {} : { inputs }),
    ...(video === undefined ? {} : { video }),
    ...(balloon === "virtio" ? { balloon } : {}),
    ...(rng === undefined ? {} : { rng }),
  };
}

/** Undefined for `ps2`. Without a bus a tablet is on usb, the others on ps2, as in libvirt. */
function parseInput(input: ElementReader): InputDevice | undefined {
  input.ignore("alias");
  const type = input.choice("type", inputTypes) ?? input.fail("is missing", "@type");
  const bus = input.choice("bus", inputBuses) ?? (type === "tablet" ? "usb" : "ps2");
  if (bus !== "ps2") return { type, bus };
  return type === "tablet" ? input.unsupported(" as 'ps2' for a tablet", "@bus") : undefined;
}

function parseVideoModel(model: ElementReader): NonNullable<Hardware["video"]> {
  model.choice("heads", ["1"]);
  model.choice("primary", ["yes"]);
  return model.choice("type", videoModels) ?? model.fail("is missing", "@type");
}

function parseBalloon(balloon: ElementReader): "none" | "virtio" {
  balloon.ignore("alias");
  return balloon.choice("model", ["none", "virtio"] as const) ?? balloon.fail("is missing", "@model");
}

function parseRng(rng: ElementReader): NonNullable<Hardware["rng"]> {
  rng.ignore("alias");
  if (rng.choice("model", ["virtio"]) === undefined) rng.fail("is missing", "@model");
  return rng.requireChild("backend", (backend) => {
    if (backend.choice("model", ["random"]) === undefined) backend.fail("is missing", "@model");
    return backend.text().trim() === "" ? "/dev/urandom" : backend.textChoice(rngSources);
  });
}

/** Reads `<pm>`. Only x86 machines have a switch for it. */
export function parseSleep(pm: ElementReader, arch: string): NonNullable<Hardware["sleep"]> {
  if (arch !== "x86_64" && arch !== "i686") pm.unsupported(` on ${arch}`);
  const read = (name: string): boolean | undefined =>
    pm.child(name, (e) => (e.choice("enabled", ["yes", "no"] as const) ?? e.fail("is missing", "@enabled")) === "yes");
  const toMemory = read("suspend-to-mem");
  const toDisk = read("suspend-to-disk");
  return { ...(toMemory === undefined ? {} : { toMemory }), ...(toDisk === undefined ? {} : { toDisk }) };
}
