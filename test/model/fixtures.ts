import { readFileSync, readdirSync } from "node:fs";

const root = new URL("../fixtures/xml/", import.meta.url);

export interface Fixture {
  readonly name: string;
  readonly xml: string;
  /** What the formatter makes of it, for valid ones. */
  readonly output: string | undefined;
  /** The error that it must give, for invalid ones: its first line is `<!-- expect: CODE part of the message -->`. */
  readonly expected: { readonly code: string; readonly text: string } | undefined;
}

/** The golden files of one kind: `NAME.xml` with `NAME.out.xml`, and `NAME-invalid.xml`. */
export function loadFixtures(kind: "domain" | "domainsnapshot" | "redefinition"): Fixture[] {
  const folder = new URL(`${kind}/`, root);
  const inputs = readdirSync(folder).filter((file) => !file.endsWith(".out.xml"));
  return inputs.map((file) => {
    const name = file.replace(/\.xml$/, "");
    const xml = readFileSync(new URL(file, folder), "utf8");
    if (!name.endsWith("-invalid")) {
      return { name, xml, output: readFileSync(new URL(`${name}.out.xml`, folder), "utf8"), expected: undefined };
    }
    const [, code = "", text = ""] = /^<!-- expect: (\S+) (.*) -->\n/.exec(xml) ?? [];
    return { name, xml, output: undefined, expected: { code, text } };
  });
}
