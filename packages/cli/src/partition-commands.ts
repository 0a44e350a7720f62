/**
 * The part of the command line that changes how cards are split: `partition …` and `partitions set`. Owns its grammar;
 * what a command does is in commands/partition.ts.
 */
import type { Command } from 'commander';
import {
  applyPartition,
  assertPartition,
  exportPartition,
  partitionHistory,
  planPartition,
  restorePartition,
  rollbackPartition,
} from './commands/partition.js';
import type { CommandContext, CommonOptions } from './context.js';
import type { PartitionOptions } from './partition-input.js';
import { withDeviceOptions, withReload } from './shared-flags.js';

type Run = <O extends CommonOptions>(
  work: (context: CommandContext, options: O) => Promise<number>,
) => (options: O) => Promise<void>;

/** How commands below another one are added. */
export interface PartitionTools {
  /** Adds a command with the common options and an example. */
  readonly addTo: (parent: Command, name: string, summary: string, usage: string) => Command;
  readonly run: Run;
  readonly example: (usage: string) => string;
}

type Work = (context: CommandContext, options: PartitionOptions) => Promise<number>;

/** Adds `partition` and its commands. */
export function addPartitionCommands(
  program: Command,
  { addTo, run, example }: PartitionTools,
): void {
  const partition = program
    .command('partition')
    .description('change how cards are split, with a journal and a way back')
    .exitOverride()
    .addHelpText('after', example('aim-gpu partition apply --driver rocm CPX/NPS1 --dry-run'));
  const add = (name: string, summary: string, usage: string): Command =>
    withNode(addTo(partition, name, summary, usage));
  const wishes = (command: Command): Command =>
    command
      .argument(
        '[layouts...]',
        'CPX/NPS4 for every card, 0000:0c:00.0=CPX/NPS4 for one; a later one wins',
      )
      .option('--file <file>', 'layouts written by `partition export`');
  const action = (command: Command, work: Work): void => {
    command.action((layouts: readonly string[], options: PartitionOptions & CommonOptions) =>
      run<PartitionOptions & CommonOptions>((context) => work(context, { ...options, layouts }))(
        options,
      ),
    );
  };
  const plain = (command: Command, work: Work): void => {
    command.action((options: PartitionOptions & CommonOptions) =>
      run<PartitionOptions & CommonOptions>((context) => work(context, options))(options),
    );
  };

  action(
    wishes(add('plan', 'say what a change would take', 'aim-gpu partition plan CPX/NPS4 --json')),
    planPartition,
  );
  action(
    withChange(
      wishes(add('apply', 'change the layouts', 'aim-gpu partition apply CPX/NPS1')).option(
        '--plan <file>',
        'a plan of `partition plan --json`; repeating it is safe',
      ),
    ),
    applyPartition,
  );
  action(
    wishes(
      add('assert', 'end with 5 unless the layouts are these', 'aim-gpu partition assert CPX/NPS1'),
    ),
    assertPartition,
  );
  plain(
    withChange(
      add(
        'rollback',
        'finish or take back what a crash interrupted, else go back to before the last change',
        'aim-gpu partition rollback',
      ),
    ),
    rollbackPartition,
  );
  plain(
    withChange(
      add(
        'restore',
        'go back to the layouts that the first `apply` kept, or to those of a file',
        'aim-gpu partition restore --file layouts.json',
      ).option('--file <file>', 'layouts written by `partition export`'),
    ),
    restorePartition,
  );
  plain(
    add('history', 'what was changed, and how it ended', 'aim-gpu partition history'),
    partitionHistory,
  );
  plain(
    add(
      'export',
      'write down the layouts there are',
      'aim-gpu partition export --out layouts.json',
    ).option('--out <file>', 'where they go; stdout unless given'),
    exportPartition,
  );
}

/** Adds `partitions set`, the short form of `partition apply`. */
export function addPartitionsSet(partitions: Command, { addTo, run }: PartitionTools): void {
  withChange(
    withNode(
      addTo(
        partitions,
        'set',
        'change the layouts, as `partition apply` does',
        'aim-gpu partitions set 0000:0c:00.0=CPX/NPS1',
      ),
    ),
  )
    .argument('<layouts...>', 'CPX/NPS4 for every card, 0000:0c:00.0=CPX/NPS4 for one')
    .action((layouts: readonly string[], options: PartitionOptions & CommonOptions) =>
      run<PartitionOptions & CommonOptions>((context) =>
        applyPartition(context, { ...options, layouts }),
      )(options),
    );
}

function withNode(command: Command): Command {
  return withDeviceOptions(command)
    .option('--fleet <file>', 'fleet file whose node it is; without it this host')
    .option('--node <name>', 'node of the fleet');
}

function withChange(command: Command): Command {
  return withReload(command)
    .option('--dry-run', 'say what would be done and change nothing')
    .option(
      '--stop-unit <name...>',
      'systemd units that hold the cards: stopped before, started after',
    )
    .option(
      '--restart-unit <name...>',
      'systemd units that read the layouts once: restarted after',
    );
}
