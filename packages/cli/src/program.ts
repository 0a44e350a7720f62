/**
 * The command line: commands, options, help with an example each, and how parse errors become `ERR_USAGE`. Owns the
 * grammar; what a command does is in its own file under commands/.
 */
import { AimError, toMilliseconds } from '@aim-gpu/core';
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { down } from './commands/down.js';
import { gpus } from './commands/gpus.js';
import { plan } from './commands/plan.js';
import { status } from './commands/status.js';
import { up } from './commands/up.js';
import { validate } from './commands/validate.js';
import { type CommandContext, type CommonOptions, createContext } from './context.js';
import type { CommandIo } from './io.js';
import { reportError } from './report-error.js';

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
    return reportError(toUsageError(error, argv), asked);
  }
}

function toUsageError(error: CommanderError, argv: readonly string[]): AimError {
  const command = argv.find((argument) => !argument.startsWith('-'));
  const known = command !== undefined && COMMANDS.includes(command);
  return new AimError({
    code: 'ERR_USAGE',
    kind: 'invalid',
    message: error.message.replace(/^error: /, '').replaceAll('\n', ' '),
    hint: known ? `see \`aim-gpu ${command} --help\`` : 'see `aim-gpu --help`',
  });
}

const COMMANDS: readonly string[] = ['validate', 'plan', 'up', 'status', 'down', 'gpus'];

type Finish = (exitCode: number) => void;

function createProgram(io: CommandIo, finish: Finish): Command {
  const program = new Command('aim-gpu')
    .description(
      'Splits AMD Instinct GPUs between several models and serves them with priorities and SLOs.',
    )
    .version('0.1.0')
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({ writeOut: (text) => io.writeOut(text), writeErr: () => undefined })
    .addHelpText('after', example('aim-gpu up examples/quickstart/fleet.yaml'));
  program.action(() => {
    throw new CommanderError(2, 'aim-gpu.noCommand', 'a command is missing');
  });

  const add = (name: string, summary: string, usage: string): Command =>
    withCommonOptions(program.command(name).description(summary))
      .exitOverride()
      .addHelpText('after', example(usage));
  const run =
    <O extends CommonOptions>(work: (context: CommandContext, options: O) => Promise<number>) =>
    async (options: O): Promise<void> => {
      finish(await work(createContext(io, options), options));
    };

  withFleetOptions(
    add(
      'validate',
      'check a fleet file; --json prints it with every default',
      'aim-gpu validate fleet.yaml',
    ),
  )
    .argument('<fleet>', 'fleet file')
    .action((file: string, options) => run((context) => validate(context, file, options))(options));

  withDeviceOptions(
    add('plan', 'show what would be done, without doing it', 'aim-gpu plan fleet.yaml --json'),
  )
    .argument('<fleet>', 'fleet file')
    .action((file: string, options) => run((context) => plan(context, file, options))(options));

  withDeviceOptions(
    add(
      'up',
      'split the GPUs, start the engines and serve, until Ctrl-C',
      'aim-gpu up fleet.yaml --listen 127.0.0.1:8080',
    ),
  )
    .argument('<fleet>', 'fleet file')
    .option(
      '--node <name>',
      'node of the fleet to run; by default the only one, or the one named like this host',
    )
    .option('--listen <address>', 'where the gateway listens', '127.0.0.1:8080')
    .option(
      '--admin-listen <address>',
      'where health, metrics and the admin API listen',
      '127.0.0.1:8081',
    )
    .option('--free-ports', 'take free ports when the ones asked for are in use')
    .option('--partial', 'start what can be placed and leave the rest')
    .option('--allow-anonymous', 'serve without keys on other addresses than loopback')
    .option('--restore-layout', 'on exit, bring the cards back to the layout they had')
    .action((file: string, options) => run((context) => up(context, file, options))(options));

  add('status', 'show what the running agent does', 'aim-gpu status').action((options) =>
    run((context) => status(context))(options),
  );

  add(
    'down',
    'stop the running agent: drain, stop the engines, release the shares',
    'aim-gpu down --restore-layout',
  )
    .option('--restore-layout', 'bring the cards back to the layout they had')
    .option('--timeout <time>', 'longest wait', toTimeout, 120_000)
    .action((options) =>
      run((context) =>
        down(context, {
          restoreLayout: options.restoreLayout === true,
          timeoutMs: options.timeout,
        }),
      )(options),
    );

  withDeviceOptions(
    add('gpus', 'list cards and partitions as read back', 'aim-gpu gpus fleet.yaml --json'),
  )
    .argument('[fleet]', 'fleet file; without it the cards of this host')
    .action((file: string | undefined, options) =>
      run((context) => gpus(context, file, options))(options),
    );

  return program;
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

function withFleetOptions(command: Command): Command {
  return command.option('--driver <name>', 'simulated or rocm, for every node');
}

function withDeviceOptions(command: Command): Command {
  return withFleetOptions(command)
    .option('--root <dir>', 'root of a tree with sys and proc, for the rocm driver')
    .option('--realistic-timing', 'let simulated switches and reloads take as long as real ones');
}

function toTimeout(text: string): number {
  const value = toMilliseconds(text);
  if (value === null) throw new InvalidArgumentError('a time such as 30s or 2m');
  return value;
}

function example(usage: string): string {
  return `\nExample:\n  $ ${usage}\n`;
}
