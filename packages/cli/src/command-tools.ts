/**
 * How every command is added to the command line and run: common options, an example in its help, its exit code. Owns
 * what commands have in common; knows no command. A command's own code is loaded when it is run: what a daemon or a
 * short question does not need is neither waited for nor kept in memory.
 */
import { Command } from 'commander';
import { type CommandContext, type CommonOptions, createContext } from './context.js';
import type { CommandIo } from './io.js';

/** Runs a command's work with its context. */
type RunCommand = <O extends CommonOptions>(
  work: (context: CommandContext, options: O) => Promise<number>,
) => (options: O) => Promise<void>;

/** How commands are added and run. */
export interface CommandTools {
  readonly program: Command;
  /** Adds a command with the common options and an example. */
  readonly add: (name: string, summary: string, usage: string) => Command;
  /** Adds one below another. */
  readonly addTo: (parent: Command, name: string, summary: string, usage: string) => Command;
  /** Adds a command that only has others below it. */
  readonly addGroup: (name: string, summary: string, usage: string) => Command;
  readonly run: RunCommand;
}

/** Makes the tools of a command line; `finish` is told the exit code of the command that ran. */
export function createCommandTools(
  io: CommandIo,
  finish: (exitCode: number) => void,
): CommandTools {
  const program = new Command('aim-gpu');
  const addTo: CommandTools['addTo'] = (parent, name, summary, usage) =>
    withCommonOptions(parent.command(name).description(summary))
      .exitOverride()
      .addHelpText('after', toExample(usage));
  return {
    program,
    addTo,
    add: (name, summary, usage) => addTo(program, name, summary, usage),
    addGroup: (name, summary, usage) =>
      program
        .command(name)
        .description(summary)
        .exitOverride()
        .addHelpText('after', toExample(usage)),
    run: (work) => async (options) => {
      finish(await work(createContext(io, options), options));
    },
  };
}

/** An example as it stands under a command's help. */
export function toExample(usage: string): string {
  return `\nExample:\n  $ ${usage}\n`;
}

function withCommonOptions(command: Command): Command {
  return command
    .option('--json', 'print exactly one JSON document on stdout')
    .option('--debug', 'log everything, and stack traces')
    .option(
      '--state-dir <dir>',
      'where everything is kept (default: $XDG_STATE_HOME/aim-gpu or ~/.local/state/aim-gpu)',
    );
}
