/**
 * The part of the command line that asks the planner without changing anything: `explain`, `capacity`,
 * `fragmentation`. Owns its grammar; what a command does is in commands/ask-planner.ts.
 */
import type { Command } from 'commander';
import type { CapacityOptions } from './commands/ask-planner.js';
import type { CommandContext, CommonOptions } from './context.js';
import type { DriverOptions } from './drivers.js';
import type { FleetOptions } from './fleet-input.js';
import { toWhole } from './shared-flags.js';

type AskOptions = FleetOptions & DriverOptions & CommonOptions;

/** How the planner's commands are added. */
export interface PlannerTools {
  /** Adds a command with the device options and an example. */
  readonly add: (name: string, summary: string, usage: string) => Command;
  readonly run: <O extends CommonOptions>(
    work: (context: CommandContext, options: O) => Promise<number>,
  ) => (options: O) => Promise<void>;
}

/** Adds `explain`, `capacity` and `fragmentation`. */
export function addPlannerCommands({ add, run }: PlannerTools): void {
  add('explain', 'why a model is where it is, or has no place', 'aim-gpu explain coder fleet.yaml')
    .argument('<workload>', 'model of the fleet')
    .argument('<fleet>', 'fleet file')
    .action((workload: string, file: string, options: AskOptions) =>
      run<AskOptions>(async (context) => {
        const { askExplain } = await import('./commands/ask-planner.js');
        return askExplain(context, { ...options, workload, file });
      })(options),
    );
  add(
    'capacity',
    'the fewest cards of a product that serve a fleet',
    'aim-gpu capacity fleet.yaml --gpu MI300X',
  )
    .argument('<fleet>', 'fleet file')
    .option('--gpu <product>', "product; by default every product of the fleet's nodes")
    .option('--most <n>', 'cards to look at, at most', toWhole, 64)
    .action((file: string, options: AskOptions & CapacityOptions) =>
      run<AskOptions & CapacityOptions>(async (context) => {
        const { askCapacity } = await import('./commands/ask-planner.js');
        return askCapacity(context, { ...options, file });
      })(options),
    );
  add(
    'fragmentation',
    'idle memory that no model of the fleet could use',
    'aim-gpu fragmentation fleet.yaml --json',
  )
    .argument('<fleet>', 'fleet file')
    .action((file: string, options: AskOptions) =>
      run<AskOptions>(async (context) => {
        const { askFragmentation } = await import('./commands/ask-planner.js');
        return askFragmentation(context, { ...options, file });
      })(options),
    );
}
