/**
 * Examines a host: reads facts, cards, health and holders, asks amd-smi, and judges it all. The effects behind `doctor`;
 * reads only, and runs nothing but the reading commands of amd-smi.
 */
import type { CallOptions, DeviceHolder, NodeName } from '@aim-gpu/core';
import type { AmdSmiReport } from '../amd-smi/report.js';
import { readCardHealth } from '../card-health.js';
import type { CommandRunner } from '../command-runner.js';
import { crossCheck } from '../cross-check.js';
import { readHolders } from '../device-holders.js';
import { discoverCards } from '../discovery.js';
import type { FileTree } from '../file-tree.js';
import { askAmdSmi } from '../tool-reports.js';
import { type Examination, type Finding, findFindings } from './findings.js';
import { readHostFacts } from './host-facts.js';

/** Options of {@link examineHost}. */
export interface ExamineHostOptions extends CallOptions {
  readonly node: NodeName;
  readonly files: FileTree;
  /** Directory the files are below; tools are looked for there as well. */
  readonly root: string;
  readonly commands: CommandRunner;
  /** Longest wait for one command of the tool; 20 s unless said otherwise. */
  readonly toolTimeoutMs?: number;
}

/** Examines a host and judges what was found. Throws nothing but the signal's reason. */
export async function examineHost(
  options: ExamineHostOptions,
): Promise<Examination & { readonly findings: readonly Finding[] }> {
  const { node, files, root, commands, toolTimeoutMs, ...call } = options;
  const [facts, { inventory, directories }] = await Promise.all([
    readHostFacts(files),
    discoverCards({ tree: files, node, ...call }),
  ]);
  const health = await Promise.all(
    inventory.cards.map((card) =>
      readCardHealth(
        files,
        card,
        directories.find((place) => place.id === card.id),
      ),
    ),
  );
  // Before the tool runs: it would be a holder itself.
  const holders = new Map<number, DeviceHolder>();
  for (const card of inventory.cards)
    for (const holder of await readHolders(files, card)) holders.set(holder.pid, holder);
  const timeout = toolTimeoutMs === undefined ? {} : { timeoutMs: toolTimeoutMs };
  const tools = await askAmdSmi({ tree: files, root, commands, ...timeout, ...call });
  const reports = tools.runs.flatMap((run) => (run.report === null ? [] : [run.report]));
  for (const holder of toolHolders(reports))
    if (!holders.has(holder.pid)) holders.set(holder.pid, holder);
  const disagreements = crossCheck({ inventory, reports });
  const examination = {
    facts,
    inventory,
    health,
    holders: [...holders.values()],
    tools,
    disagreements,
  };
  return { ...examination, findings: findFindings(examination) };
}

/** Processes that only the tool shows: in another PID namespace, or of another user. */
function toolHolders(reports: readonly AmdSmiReport[]): readonly DeviceHolder[] {
  return reports.flatMap((report) =>
    report.gpus.flatMap((gpu) =>
      (gpu.processes ?? []).map(({ pid, name }) => ({
        pid,
        command: name,
        user: null,
        device: `GPU ${gpu.index ?? gpu.pci ?? '?'} of amd-smi`,
      })),
    ),
  );
}
