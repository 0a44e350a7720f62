/**
 * Records a capture: reads everything this package ever reads of a host through a port that notes the answers, asks the
 * tool, and takes out what nobody else should know. Changes nothing on the host.
 */
import { type CallOptions, type Clock, nodeName } from '@aim-gpu/core';
import { readCardHealth } from '../card-health.js';
import type { CommandOutcome, CommandRunner } from '../command-runner.js';
import { readHolders } from '../device-holders.js';
import { discoverCards } from '../discovery.js';
import { readHostFacts } from '../doctor/host-facts.js';
import type { FileTree } from '../file-tree.js';
import { KFD_NODES } from '../kfd-topology.js';
import { askAmdSmi } from '../tool-reports.js';
import type { Capture, CapturedCommand } from './capture.js';
import { createNotingFiles } from './capture-files.js';
import { redact } from './redaction.js';

/** Options of {@link recordCapture}. */
export interface RecordCaptureOptions extends CallOptions {
  readonly files: FileTree;
  /** Directory the files are below; tools are looked for there as well. */
  readonly root: string;
  readonly commands: CommandRunner;
  readonly clock: Clock;
  /** Words to take out wherever they stand: the host's name, the user's. */
  readonly hide?: readonly string[];
}

/** Of every card, files that no reader uses yet and that say what kernel and firmware can do. */
const EXTRA_CARD_FILES: readonly string[] = [
  'unique_id',
  'vbios_version',
  'compute_partition_config/supported_xcp_configs',
  'compute_partition_config/supported_nps_configs',
];

/** Records what a host shows. Of processes that hold no GPU nothing is kept. */
export async function recordCapture(options: RecordCaptureOptions): Promise<Capture> {
  const { files, root, commands, hide = [], ...call } = options;
  const { tree, noted } = createNotingFiles(files);
  const { inventory, directories } = await discoverCards({
    tree,
    node: nodeName('captured'),
    ...call,
  });
  for (const card of inventory.cards) {
    await readHolders(tree, card);
    const place = directories.find((entry) => entry.id === card.id);
    await readCardHealth(tree, card, place);
    const extra =
      place === undefined ? [] : EXTRA_CARD_FILES.map((name) => `${place.directory}/${name}`);
    const nodes = card.partitions.map((partition) => `${KFD_NODES}/${partition.kfdNode}/name`);
    await Promise.all([...extra, ...nodes].map((file) => tree.read(file)));
  }
  await readHostFacts(tree);
  await tree.read('sys/class/kfd/kfd/topology/generation_id');
  const asked = await askAmdSmi({ tree, root, commands, ...call });
  const runs = asked.runs.map(({ argv, outcome }) => toCommand(argv, outcome));
  return redact(noted, runs, hide);
}

function toCommand(argv: readonly string[], outcome: CommandOutcome): CapturedCommand {
  if (outcome.kind === 'ended') {
    const { exitCode, stdout, stderr } = outcome;
    return { argv, exitCode, stdout, stderr, failure: null };
  }
  const printed = outcome.kind === 'not-started' ? { stdout: '', stderr: '' } : outcome;
  return {
    argv,
    exitCode: null,
    stdout: printed.stdout,
    stderr: printed.stderr,
    failure: outcome.kind === 'not-started' ? outcome.reason : outcome.kind,
  };
}
