/**
 * `aim-gpu doctor`: why this host's GPUs cannot be used or changed, each finding with its evidence and one fix. Reads
 * only; runs nothing but the reading commands of amd-smi.
 */
import { exitCodeOf, nodeName } from '@aim-gpu/core';
import { examineHost, type Finding } from '@aim-gpu/driver-rocm';
import type { CommandContext } from '../context.js';
import type { DriverOptions } from '../drivers.js';
import { openRocmHost } from '../rocm-host.js';

/** Runs `doctor`. Exit code 0 when nothing keeps GPUs from being used, else that of the first error's kind. */
export async function doctor(context: CommandContext, options: DriverOptions): Promise<number> {
  const { root, files, commands } = openRocmHost(context, options);
  const node = nodeName(context.io.hostName);
  const examined = await examineHost({ node, root, files, commands });
  const { inventory, facts, tools, health, holders, findings } = examined;
  const first = findings.find((finding) => finding.level === 'error');
  const partitions = inventory.cards.reduce((sum, card) => sum + card.partitions.length, 0);
  if (context.json) {
    context.print({
      ok: first === undefined,
      cards: inventory.cards.length,
      partitions,
      versions: { kernel: facts.kernelRelease, amdgpu: facts.amdgpuVersion, amdSmi: tools.version },
      findings,
      health,
      holders,
    });
  } else {
    const versions = [
      `kernel ${facts.kernelRelease ?? 'unknown'}`,
      `amdgpu ${facts.amdgpuLoaded ? (facts.amdgpuVersion ?? 'of the kernel') : 'not loaded'}`,
      `amd-smi ${tools.version ?? (tools.file === null ? 'not installed' : 'unknown')}`,
    ];
    context.say(
      [
        `${inventory.cards.length} cards, ${partitions} partitions; ${versions.join(', ')}`,
        ...findings.map(toText),
        findings.length === 0 ? 'nothing to say: all is well' : count(findings),
      ].join('\n'),
    );
  }
  return first === undefined ? 0 : exitCodeOf(first.kind ?? 'internal');
}

function toText({ code, level, message, evidence, fix }: Finding): string {
  const lines = [`${level}: ${message} [${code}]`, `  seen: ${evidence}`];
  if (fix !== null) lines.push(`  do: ${fix}`);
  return lines.join('\n');
}

function count(findings: readonly Finding[]): string {
  const of = (level: Finding['level']): number =>
    findings.filter((finding) => finding.level === level).length;
  return `errors: ${of('error')}, warnings: ${of('warning')}, notes: ${of('note')}`;
}
