/** The `<disk>` that attach-disk's options describe. */
export interface DiskChoice {
  /** Empty: a drive without a medium. */
  readonly source: string;
  readonly sourceType: "file" | "block";
  readonly target: string;
  readonly device?: string;
  readonly bus?: string;
  readonly driver?: string;
  readonly format?: string;
  readonly cache?: string;
  readonly io?: string;
  readonly serial?: string;
  readonly readonly: boolean;
}

/** In virsh's order, with everything escaped. */
export function formatDiskXml(choice: DiskChoice): string {
  const driver = { name: choice.driver, type: choice.format, cache: choice.cache, io: choice.io };
  const source = { [choice.sourceType === "block" ? "dev" : "file"]: choice.source };
  return [
    `<disk${formatAttributes({ type: choice.sourceType, device: choice.device })}>`,
    ...(Object.values(driver).some((value) => value !== undefined) ? [`  <driver${formatAttributes(driver)}/>`] : []),
    ...(choice.source === "" ? [] : [`  <source${formatAttributes(source)}/>`]),
    `  <target${formatAttributes({ dev: choice.target, bus: choice.bus })}/>`,
    ...(choice.readonly ? ["  <readonly/>"] : []),
    ...(choice.serial === undefined ? [] : [`  <serial>${escapeXml(choice.serial)}</serial>`]),
    "</disk>\n",
  ].join("\n");
}

function formatAttributes(attributes: Readonly<Record<string, string | undefined>>): string {
  return Object.entries(attributes)
    .map(([name, value]) => (value === undefined ? "" : ` ${name}='${escapeXml(value)}'`))
    .join("");
}

/** White space too, which a parser would change in an attribute. */
function escapeXml(text: string): string {
  return text.replaceAll(/[&<>"'\t\n\r]/g, (character) => `&#${character.codePointAt(0)};`);
}
