/** An error that a monitor answers with. Until QEMU 1.2 every kind had its own class, and its parts in `data`. */
export class FakeQmpError extends Error {
  readonly errorClass: string;
  readonly data: Readonly<Record<string, unknown>>;

  constructor(errorClass: string, desc: string, data: Readonly<Record<string, unknown>> = {}) {
    super(desc);
    this.name = "FakeQmpError";
    this.errorClass = errorClass;
    this.data = data;
  }
}
