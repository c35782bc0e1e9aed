/**
 * Who may import whom. A folder imports itself, and what its line names: folders with all that is in them, and npm packages. Every
 * file belongs to the most particular line; a folder without a line is an error, and so is a line without a folder. Imports of
 * types count. No two files may import each other, not even by way of others.
 */
export const permittedImports: Readonly<Record<string, readonly string[]>> = {
  // Protocol and data: nothing here knows that there is a daemon
  "src/base": [],
  "src/api-types": [],
  "src/xml": ["src/base", "npm:libxml2-wasm"],
  "src/model": ["src/xml", "src/base"],
  "src/qmp": ["src/base"],
  "src/qemu": ["src/qmp", "src/model", "src/base"],
  "src/image": ["src/model", "src/base"],
  "src/journal": ["src/base"],

  // The engine: knows neither JSON nor sockets
  "src/engine/steps": ["src/qemu", "src/image", "src/model", "src/base"],
  "src/engine/plans": ["src/engine/steps", "src/model"],
  "src/engine/runner": ["src/engine/steps", "src/base"],
  "src/engine/recovery": ["src/engine/runner", "src/engine/plans", "src/engine/steps", "src/image", "src/base"],

  // Use cases, and the ways to them. Why `service` reaches past the engine: docs/decisions/0004-service-imports.md
  "src/service": ["src/engine", "src/journal", "src/qemu", "src/image", "src/model", "src/api-types", "src/base"],
  "src/http": ["src/service", "src/api-types", "src/base", "npm:fastify"],
  "src/remote": ["src/service", "src/model", "src/xml", "src/api-types", "src/base"],
  "src/client": ["src/api-types"],
  "src/cli": ["src/client", "src/api-types", "src/base", "npm:commander"],
  "src/daemon": [
    ...[
      "src/http",
      "src/remote",
      "src/service",
      "src/engine",
      "src/journal",
      "src/qemu",
      "src/image",
      "src/client",
      "src/base",
    ],
    ...["npm:fastify", "npm:pino"],
  ],

  // What the package exports
  "src/testing": ["src/qmp", "src/base"],
  "src/index.ts": ["src/daemon", "src/service", "src/client", "src/api-types", "src/model", "src/base"],

  // Around it: the source never imports these
  test: ["src", "tools", "examples", "bench", "crash", "npm:fast-check", "npm:fastify", "npm:libxml2-wasm", "npm:pino"],
  tools: ["src", "npm:prettier"],
  examples: ["src"],
  bench: ["src"],
  crash: ["src"],
};
