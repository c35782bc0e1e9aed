/** qmirrord. */
import { compose } from "./compose.ts";
import { runDaemonProcess } from "./daemon-process.ts";

// Whatever a dependency may still hold must not keep a stopped daemon alive.
process.exit(await runDaemonProcess(process.argv.slice(2), compose));
