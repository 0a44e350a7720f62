/**
 * The part of the command line about how cards are split: `partition …` changes it, `partitions …` shows it. Owns its
 * grammar; what a command does is in commands/partition.ts and commands/partitions.ts.
 */
import type { Command } from 'commander';
import type { CommandTools } from './command-tools.js';
import type { CommandContext, CommonOptions } from './context.js';
import type { PartitionOptions } from './partition-input.js';
import { toWhole, withDeviceOptions, withReload } from './shared-flags.js';

type Work = (context: CommandContext, options: PartitionOptions) => Promise<number>;
type Verb =
  | 'planPartition'
  | 'applyPartition'
  | 'assertPartition'
  | 'rollbackPartition'
  | 'restorePartition'
  | 'partitionHistory'
  | 'exportPartition';

const work =
  (verb: Verb): Work =>
  async (context, options) =>
    (await import('./commands/partition.js'))[verb](context, options);

/** Adds `partition` and its commands. */
export function addPartitionCommands({ addGroup, addTo, run }: CommandTools): void {
  const partition = addGroup(
    'partition',
    'change how cards are split, with a journal and a way back',
    'aim-gpu partition apply --driver rocm CPX/NPS1 --dry-run',
  );
  const add = (name: string, summary: string, usage: string): Command =>
    withNode(addTo(partition, name, summary, usage));
  const wishes = (command: Command): Command =>
    command
      .argument(
        '[layouts...]',
        'CPX/NPS4 for every card, 0000:0c:00.0=CPX/NPS4 for one; a later one wins',
      )
      .option('--file <file>', 'layouts written by `partition export`');
  const action = (command: Command, verb: Work): void => {
    command.action((layouts: readonly string[], options: PartitionOptions & CommonOptions) =>
      run<PartitionOptions & CommonOptions>((context) => verb(context, { ...options, layouts }))(
        options,
      ),
    );
  };
  const plain = (command: Command, verb: Work): void => {
    command.action((options: PartitionOptions & CommonOptions) =>
      run<PartitionOptions & CommonOptions>((context) => verb(context, options))(options),
    );
  };

  action(
    wishes(add('plan', 'say what a change would take', 'aim-gpu partition plan CPX/NPS4 --json')),
    work('planPartition'),
  );
  action(
    withChange(
      wishes(add('apply', 'change the layouts', 'aim-gpu partition apply CPX/NPS1')).option(
        '--plan <file>',
        'a plan of `partition plan --json`; repeating it is safe',
      ),
    ),
    work('applyPartition'),
  );
  action(
    wishes(
      add('assert', 'end with 5 unless the layouts are these', 'aim-gpu partition assert CPX/NPS1'),
    ),
    work('assertPartition'),
  );
  plain(
    withChange(
      add(
        'rollback',
        'finish or take back what a crash interrupted, else go back to before the last change',
        'aim-gpu partition rollback',
      ),
    ),
    work('rollbackPartition'),
  );
  plain(
    withChange(
      add(
        'restore',
        'go back to the layouts that the first `apply` kept, or to those of a file',
        'aim-gpu partition restore --file layouts.json',
      ).option('--file <file>', 'layouts written by `partition export`'),
    ),
    work('restorePartition'),
  );
  plain(
    add('history', 'what was changed, and how it ended', 'aim-gpu partition history'),
    work('partitionHistory'),
  );
  plain(
    add(
      'export',
      'write down the layouts there are',
      'aim-gpu partition export --out layouts.json',
    ).option('--out <file>', 'where they go; stdout unless given'),
    work('exportPartition'),
  );
}

/** Adds `partitions` and its commands. */
export function addPartitionsCommands(tools: CommandTools): void {
  const { addGroup, addTo, run } = tools;
  const partitions = addGroup(
    'partitions',
    'partitions of the cards: what they are and how they change',
    'aim-gpu partitions list --driver rocm',
  );
  withDeviceOptions(
    addTo(
      partitions,
      'list',
      'list partitions with capacity, use and separation',
      'aim-gpu partitions list fleet.yaml --json',
    ),
  )
    .argument('[fleet]', 'fleet file; without it the cards of this host')
    .action((file: string | undefined, options) =>
      run(async (context) => {
        const { listPartitions } = await import('./commands/partitions.js');
        return listPartitions(context, file, options);
      })(options),
    );
  withDeviceOptions(
    addTo(
      partitions,
      'watch',
      'tell every change of a layout, until Ctrl-C; --json prints one object a line',
      'aim-gpu partitions watch --driver rocm',
    ),
  )
    .argument('[fleet]', 'fleet file; without it the cards of this host')
    .option('--count <n>', 'end after so many changes', toWhole)
    .action((file: string | undefined, options) =>
      run(async (context) => {
        const { watchPartitions } = await import('./commands/partitions.js');
        return watchPartitions(context, file, options);
      })(options),
    );
  addPartitionsSet(partitions, tools);
}

/** `partitions set` is the short form of `partition apply`. */
function addPartitionsSet(partitions: Command, { addTo, run }: CommandTools): void {
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
        work('applyPartition')(context, { ...options, layouts }),
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
