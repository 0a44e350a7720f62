/**
 * The command line: its groups of commands, and how parse errors become `ERR_USAGE`. Owns the whole and its failures;
 * the grammar of a group is in its own file, what a command does is in commands/.
 */
import { AimError } from '@aim-gpu/core';
import { type Command, CommanderError } from 'commander';
import { addAgentCommands } from './agent-commands.js';
import { createCommandTools, toExample } from './command-tools.js';
import { addDeviceCommands } from './device-commands.js';
import { addFleetCommands } from './fleet-commands.js';
import type { CommandIo } from './io.js';
import { addModelCommands } from './model-commands.js';
import { addPartitionCommands, addPartitionsCommands } from './partition-commands.js';
import { addPlannerCommands } from './planner-commands.js';
import { reportError } from './report-error.js';
import { withDeviceOptions } from './shared-flags.js';

/** Runs a command line and returns its exit code. Never throws: failures are printed and mapped. */
export async function runCommandLine(argv: readonly string[], io: CommandIo): Promise<number> {
  // A command line that cannot be parsed has no options yet; what was asked for still decides how it fails.
  const asked = { io, json: argv.includes('--json'), debug: argv.includes('--debug') };
  let exitCode = 0;
  const program = createProgram(io, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (!(error instanceof CommanderError)) return reportError(error, asked);
    if (error.exitCode === 0) return 0;
    return reportError(toUsageError(error, argv, program), asked);
  }
}

function toUsageError(error: CommanderError, argv: readonly string[], program: Command): AimError {
  const command = argv.find((argument) => !argument.startsWith('-'));
  const known = program.commands.some((each) => each.name() === command);
  return new AimError({
    code: 'ERR_USAGE',
    kind: 'invalid',
    message: error.message.replace(/^error: /, '').replaceAll('\n', ' '),
    hint: known ? `see \`aim-gpu ${command} --help\`` : 'see `aim-gpu --help`',
  });
}

function createProgram(io: CommandIo, finish: (exitCode: number) => void): Command {
  const tools = createCommandTools(io, finish);
  const { program, add, run } = tools;
  program
    .description(
      'Splits AMD Instinct GPUs between several models and serves them with priorities and SLOs.',
    )
    .version('0.1.0')
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({ writeOut: (text) => io.writeOut(text), writeErr: () => undefined })
    .addHelpText('after', toExample('aim-gpu up examples/quickstart/fleet.yaml'));
  program.action(() => {
    throw new CommanderError(2, 'aim-gpu.noCommand', 'a command is missing');
  });
  addFleetCommands(tools);
  addPlannerCommands({
    run,
    add: (name, summary, usage) => withDeviceOptions(add(name, summary, usage)),
  });
  addAgentCommands(tools);
  addDeviceCommands(tools);
  addPartitionsCommands(tools);
  addPartitionCommands(tools);
  addModelCommands(tools);
  return program;
}
