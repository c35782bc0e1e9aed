/** The journal: what an operation intends (before), has decided, and how it ended. */
import type { DatabaseSync } from "node:sqlite";
import { json, optionalJson, optionalText, text, toJson, type Row } from "./rows.ts";

export type OperationEnd = "succeeded" | "failed" | "cancelled";

export interface OperationRow<Plan = unknown> {
  readonly id: string;
  /** Uuid. */
  readonly domain: string;
  readonly kind: string;
  readonly state: "running" | OperationEnd;
  /** The last step that was begun. */
  readonly step: string;
  readonly plan: Plan;
  /** Absent: nothing was decided. */
  readonly decision?: string;
  readonly error?: unknown;
  readonly result?: unknown;
  readonly startedAt: string;
  readonly endedAt?: string;
}

export interface OperationRecord {
  readonly seq: number;
  readonly at: string;
  readonly kind: string;
  readonly data: unknown;
}

export interface OperationTable {
  /** Intent: the plan, and its first step. */
  begin(row: Pick<OperationRow, "id" | "domain" | "kind" | "step" | "plan">): void;
  /** Intent: this step is about to act. */
  enterStep(id: string, step: string): void;
  record(id: string, kind: string, data?: unknown): void;
  /** The commit point. */
  decide(id: string, decision: string): void;
  end(id: string, state: OperationEnd, outcome: { error?: unknown; result?: unknown }): void;
  get<Plan>(id: string): OperationRow<Plan> | undefined;
  /** Newest first, in the order in which they were begun, whatever the clock did. */
  list<Plan>(filter: { domain?: string; running?: boolean }): OperationRow<Plan>[];
  records(id: string): OperationRecord[];
}

export function createOperationTable(db: DatabaseSync): OperationTable {
  const begin = db.prepare(
    "INSERT INTO operation (id, domain, kind, state, step, plan, started_at) VALUES (?, ?, ?, 'running', ?, ?, ?)",
  );
  const setStep = db.prepare("UPDATE operation SET step = ? WHERE id = ?");
  const insertRecord = db.prepare(
    `INSERT INTO record (operation, seq, at, kind, data)
     VALUES (?1, (SELECT coalesce(max(seq), 0) + 1 FROM record WHERE operation = ?1), ?2, ?3, ?4)`,
  );
  const decide = db.prepare("UPDATE operation SET decision = ? WHERE id = ?");
  const end = db.prepare("UPDATE operation SET state = ?, error = ?, result = ?, ended_at = ? WHERE id = ?");
  const get = db.prepare("SELECT * FROM operation WHERE id = ?");
  const list = db.prepare(
    `SELECT * FROM operation WHERE (?1 IS NULL OR domain = ?1) AND (?2 = 0 OR state = 'running')
     ORDER BY rowid DESC LIMIT 1000`,
  );
  const records = db.prepare("SELECT * FROM record WHERE operation = ? ORDER BY seq");
  const record = (id: string, kind: string, data: unknown): void =>
    void insertRecord.run(id, now(), kind, JSON.stringify(data ?? null));
  return {
    begin: (row) => void begin.run(row.id, row.domain, row.kind, row.step, JSON.stringify(row.plan), now()),
    enterStep: (id, step) => void setStep.run(step, id),
    record,
    decide: (id, decision) => void decide.run(decision, id),
    end: (id, state, { error, result }) => void end.run(state, toJson(error), toJson(result), now(), id),
    get<Plan>(id: string) {
      const row = get.get(id);
      return row === undefined ? undefined : read<Plan>(row);
    },
    list: <Plan>(filter: { domain?: string; running?: boolean }) =>
      list.all(filter.domain ?? null, filter.running === true ? 1 : 0).map((row) => read<Plan>(row)),
    records: (id) =>
      records.all(id).map((row) => ({
        seq: Number(row["seq"]),
        at: text(row, "at"),
        kind: text(row, "kind"),
        data: json<unknown>(row, "data"),
      })),
  };
}

function read<Plan>(row: Row): OperationRow<Plan> {
  const decision = optionalText(row, "decision");
  const endedAt = optionalText(row, "ended_at");
  return {
    id: text(row, "id"),
    domain: text(row, "domain"),
    kind: text(row, "kind"),
    state: text(row, "state") as OperationRow["state"],
    step: text(row, "step"),
    plan: json<Plan>(row, "plan"),
    ...(decision === undefined ? {} : { decision }),
    error: optionalJson(row, "error"),
    result: optionalJson(row, "result"),
    startedAt: text(row, "started_at"),
    ...(endedAt === undefined ? {} : { endedAt }),
  };
}

function now(): string {
  return new Date().toISOString();
}
