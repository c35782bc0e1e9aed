import { makeElement, type XmlElement } from "../xml/element.ts";
import type { Hardware } from "./hardware.ts";

export function formatSleep({ toMemory, toDisk }: NonNullable<Hardware["sleep"]>): XmlElement {
  const write = (name: string, enabled: boolean | undefined): XmlElement | undefined =>
    enabled === undefined ? undefined : makeElement(name, { enabled: enabled ? "yes" : "no" });
  return makeElement("pm", {}, [write("suspend-to-mem", toMemory), write("suspend-to-disk", toDisk)]);
}

export function formatUsb({ usb }: Hardware): XmlElement | undefined {
  return usb === undefined ? undefined : makeElement("controller", { type: "usb", index: 0, model: usb });
}

export function formatInputs({ inputs = [] }: Hardware): XmlElement[] {
  return inputs.map(({ type, bus }) => makeElement("input", { type, bus }));
}

/** What comes last among the devices. */
export function formatLastDevices({ video, balloon, rng }: Hardware): (XmlElement | undefined)[] {
  return [
    video === undefined ? undefined : makeElement("video", {}, [makeElement("model", { type: video })]),
    makeElement("memballoon", { model: balloon ?? "none" }),
    rng === undefined
      ? undefined
      : makeElement("rng", { model: "virtio" }, [makeElement("backend", { model: "random" }, rng)]),
  ];
}
