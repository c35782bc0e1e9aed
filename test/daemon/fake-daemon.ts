/** qmirrord with a facade in memory; FAKE_COMPOSE_ERROR makes its start fail. */
import { QmError } from "../../src/base/errors.ts";
import { runDaemonProcess } from "../../src/daemon/daemon-process.ts";
import { FakeFacade } from "../http/fake-facade.ts";

process.exit(
  await runDaemonProcess(process.argv.slice(2), async () => {
    const reason = process.env["FAKE_COMPOSE_ERROR"];
    if (reason !== undefined) throw new QmError("QM_JOURNAL", { path: "/state", reason });
    const facade = new FakeFacade();
    facade.addDomain("vm", { id: null, state: "shut off" });
    return { facade, close: async () => void process.stderr.write("facade closed\n") };
  }),
);
