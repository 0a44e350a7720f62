/**
 * What stands between a host and its GPUs, from facts that were read: each finding with its evidence and one fix. Pure:
 * the same facts give the same findings. Owns the rules and their words.
 */
import type { DeviceHolder, ErrorKind, Inventory, Problem } from '@aim-gpu/core';
import type { CardHealth } from '../card-health.js';
import type { ToolReports } from '../tool-reports.js';
import type { HostFacts } from './host-facts.js';
import { judgeHost } from './host-rules.js';

/** How much a finding matters: an error keeps GPUs from being used, a warning may. */
export type FindingLevel = 'error' | 'warning' | 'note';

/** One finding. */
export interface Finding {
  readonly code: string;
  readonly level: FindingLevel;
  /** For an error: what kind of failure it will show as. */
  readonly kind: ErrorKind | null;
  readonly message: string;
  /** What was read that shows it, and where. */
  readonly evidence: string;
  /** One thing to do about it; null where there is nothing to do. */
  readonly fix: string | null;
}

/** Everything that was read of a host. */
export interface Examination {
  readonly facts: HostFacts;
  readonly inventory: Inventory;
  readonly health: readonly CardHealth[];
  readonly holders: readonly DeviceHolder[];
  readonly tools: ToolReports;
  /** Where the tools and the kernel say different things. */
  readonly disagreements: readonly Problem[];
}

/** Programs that hold GPUs to watch them, and so keep every layout from being changed. */
const WATCHERS = /exporter|gpuagent|amd-smi|rocm-smi|telegraf|node_exporter|dcm|device-plugin/i;
const FIXES: Readonly<Record<string, string>> = {
  PARTITION_MISSING:
    'free the DRM minor: unload the management controller’s display (`modprobe -r ast`), then reload amdgpu',
  LAYOUT_DISAGREES: 'look again in 5 s; if it stays, reload amdgpu',
  PERMISSION_DENIED: 'run it as root, or in a container mount /sys readable',
  PRODUCT_UNKNOWN: 'send a capture (`aim-gpu capture`), so that the product can be added',
  CARD_RESETTING: 'wait for the reset to end; look at dmesg when it does not',
  TOOL_MISSING:
    'install amd-smi (package amd-smi-lib) to see profiles and processes as AMD’s tools do',
  TOOL_NOT_EXECUTABLE: 'make it executable, or install package amd-smi-lib anew',
  TOOL_HANGS: 'look at dmesg: a hanging amd-smi is mostly a hanging card',
};
const NOTES: readonly string[] = [
  'TOOL_MISSING',
  'CARD_IS_VIRTUAL',
  'CARD_IS_PASSED_THROUGH',
  'SYSFS_FILE_ABSENT',
  'PROFILES_NOT_TOLD',
];

/** Judges a host. Errors come first, in the order in which they should be dealt with. */
export function findFindings(examination: Examination): readonly Finding[] {
  const { facts, inventory, tools, disagreements } = examination;
  const findings = [
    ...judgeHost(facts, inventory.cards.length),
    ...judgeHolders(examination.holders),
    ...examination.health.flatMap(judgeHealth),
    ...[...inventory.problems, ...tools.problems, ...disagreements].map(fromProblem),
  ];
  // Where there is no card, what would be worth knowing of one is not.
  const order: readonly FindingLevel[] =
    inventory.cards.length === 0 ? ['error', 'warning'] : ['error', 'warning', 'note'];
  return order.flatMap((level) => findings.filter((finding) => finding.level === level));
}

function judgeHolders(holders: readonly DeviceHolder[]): readonly Finding[] {
  return holders.map((holder) => {
    const { pid, command, user, device } = holder;
    const watcher = WATCHERS.test(command ?? '');
    return {
      code: watcher ? 'HELD_BY_WATCHER' : 'HELD',
      level: watcher ? 'warning' : 'note',
      kind: null,
      message: `process ${pid} (${command ?? 'unknown'}) holds a GPU: no layout can be changed while it does`,
      evidence: `${device} is open in process ${pid} of user ${user ?? 'unknown'}`,
      fix: watcher
        ? `stop ${command} before a repartition and start it again afterwards`
        : `let it end, or stop process ${pid}, before a repartition`,
    };
  });
}

function judgeHealth(health: CardHealth): readonly Finding[] {
  const findings: Finding[] = [];
  const broken = (health.ras ?? []).filter((count) => count.uncorrectable > 0);
  if (broken.length > 0) {
    findings.push({
      code: 'UNCORRECTABLE_ERRORS',
      level: 'warning',
      kind: null,
      message: `${health.card} has had errors that could not be corrected`,
      evidence: broken
        .map((count) => `ras/${count.block}_err_count: ue ${count.uncorrectable}`)
        .join(', '),
      fix: 'take the card out of use and look at dmesg; have it replaced when they go on',
    });
  }
  if ((health.retiredPages ?? 0) > 0) {
    findings.push({
      code: 'RETIRED_PAGES',
      level: 'note',
      kind: null,
      message: `${health.card} has taken pages of its memory out of use`,
      evidence: `ras/gpu_vram_bad_pages: ${health.retiredPages} retired`,
      fix: null,
    });
  }
  return findings;
}

function fromProblem(problem: Problem): Finding {
  const denied = problem.code === 'PERMISSION_DENIED';
  return {
    code: problem.code,
    level: denied ? 'error' : NOTES.includes(problem.code) ? 'note' : 'warning',
    kind: denied ? 'denied' : null,
    message: problem.message,
    evidence: problem.where,
    fix: FIXES[problem.code] ?? null,
  };
}
