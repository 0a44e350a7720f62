/**
 * The command line: commands, options, help with an example each, and how parse errors become `ERR_USAGE`. Owns the
 * grammar; what a command does is in its own file under commands/.
 */
import { AimError } from '@aim-gpu/core';
import { Command, CommanderError } from 'commander';
import { addAgentCommands } from './agent-commands.js';
import { askWhatIf } from './commands/ask-planner.js';
import { capture } from './commands/capture.js';
import { conformance } from './commands/conformance.js';
import { doctor } from './commands/doctor.js';
import { down } from './commands/down.js';
import { fit } from './commands/fit.js';
import { gpus } from './commands/gpus.js';
import { type MeasureCommandOptions, measure } from './commands/measure.js';
import { listPartitions, watchPartitions } from './commands/partitions.js';
import { plan } from './commands/plan.js';
import { predictCommand } from './commands/predict.js';
import { generateProfile, validateProfiles } from './commands/profile.js';
import { simulate } from './commands/simulate.js';
import { size } from './commands/size.js';
import { status } from './commands/status.js';
import { up } from './commands/up.js';
import { validate } from './commands/validate.js';
import { type CommandContext, type CommonOptions, createContext } from './context.js';
import type { CommandIo } from './io.js';
import {
  addPartitionCommands,
  addPartitionsSet,
  type PartitionTools,
} from './partition-commands.js';
import { addPlannerCommands } from './planner-commands.js';
import { reportError } from './report-error.js';
import {
  toTimeout,
  withDeviceOptions,
  withFleetOptions,
  withReload,
  withRoot,
  withServeOptions,
} from './shared-flags.js';
import { toNumber, toWhole, toWholes, withSizingFlags } from './sizing-flags.js';

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

const COMMANDS: readonly string[] = [
  'validate',
  'plan',
  'explain',
  'capacity',
  'fragmentation',
  'up',
  'agent',
  'apply',
  'status',
  'top',
  'events',
  'logs',
  'drain',
  'restart',
  'support-bundle',
  'down',
  'gpus',
  'partitions',
  'partition',
  'doctor',
  'capture',
  'conformance',
  'simulate',
  'size',
  'fit',
  'predict',
  'measure',
  'profile',
];

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
    .option(
      '--what-if <change...>',
      'compare: add-card:MI300X remove-card:ID remove-model:NAME layout:ID=QPX/NPS1',
    )
    .action((file: string, options) =>
      run((context) =>
        options.whatIf === undefined
          ? plan(context, file, options)
          : askWhatIf(context, { ...options, file }),
      )(options),
    );

  addPlannerCommands({
    run,
    add: (name, summary, usage) => withDeviceOptions(add(name, summary, usage)),
  });

  withServeOptions(
    add(
      'up',
      'split the GPUs, start the engines and serve, until Ctrl-C',
      'aim-gpu up fleet.yaml --listen 127.0.0.1:8080',
    ),
  )
    .argument('<fleet>', 'fleet file')
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

  addAgentCommands({ add, run });

  withDeviceOptions(
    add('gpus', 'list cards and partitions as read back', 'aim-gpu gpus fleet.yaml --json'),
  )
    .argument('[fleet]', 'fleet file; without it the cards of this host')
    .action((file: string | undefined, options) =>
      run((context) => gpus(context, file, options))(options),
    );

  const tools: PartitionTools = {
    run,
    example,
    addTo: (parent, name, summary, usage) =>
      withCommonOptions(parent.command(name).description(summary))
        .exitOverride()
        .addHelpText('after', example(usage)),
  };
  addPartitionsSet(addPartitions(program, run), tools);
  addPartitionCommands(program, tools);

  withRoot(
    add('doctor', 'tell why GPUs cannot be used or changed, and what to do', 'aim-gpu doctor'),
  ).action((options) => run((context) => doctor(context, options))(options));

  withRoot(
    add(
      'capture',
      'record what this host shows of its GPUs, ids and names taken out, to be sent with an issue',
      'aim-gpu capture --out capture.json',
    ),
  )
    .option('--out <file>', 'where it goes (default: aim-gpu-capture.json)')
    .action((options) => run((context) => capture(context, options))(options));

  withReload(
    withDeviceOptions(
      add(
        'conformance',
        'hold the driver against the cards of this host, and write a report fit for an issue',
        'aim-gpu conformance --driver rocm --out report.md',
      ),
    ),
  )
    .option('--destructive', 'also run the cases that change layouts; they are restored afterwards')
    .option('--busy-scope <scope>', 'what blocks a switch on this kernel: card or node', 'card')
    .option('--out <file>', 'also write the report to a file')
    .action((options) => run((context) => conformance(context, options))(options));

  add(
    'simulate',
    'keep a simulated machine live as a directory for --root, until Ctrl-C',
    'aim-gpu simulate /tmp/machine --product MI300X',
  )
    .argument('<dir>', 'a new or an empty directory, or the one of an earlier run')
    .option('--product <name>', 'product of its cards', 'MI300X')
    .option('--cards <n>', 'how many there are, 1 to 8', toWhole, 1)
    .option('--kernel <name>', 'what it behaves like: newest or rocm-6', 'newest')
    .option('--realistic-timing', 'let switches and reloads take as long as real ones')
    .option('--reboot', 'switch it off and on first')
    .action((directory: string, options) =>
      run((context) => simulate(context, directory, options))(options),
    );

  withSizingFlags(
    add(
      'size',
      'how many bytes a model takes, each explained',
      'aim-gpu size Qwen/Qwen3-32B-FP8 --gpu MI300X --layout QPX/NPS1',
    ),
  )
    .argument('<model>', 'config.json, model directory or catalogue id')
    .option(
      '--calibrate <log>',
      "compare with an engine's start-up log and write what this host needs",
    )
    .option('--out <file>', 'where the calibration goes; by default beside the log')
    .action((model: string, options) => run((context) => size(context, model, options))(options));

  withSizingFlags(
    add(
      'fit',
      'which layouts of a product hold a model',
      'aim-gpu fit Qwen/Qwen3-32B-FP8 --gpu MI300X --concurrency 4',
    ),
  )
    .argument('<model>', 'config.json, model directory or catalogue id')
    .option('--concurrency <n>', 'sequences of the whole context that must fit', toWhole)
    .action((model: string, options) => run((context) => fit(context, model, options))(options));

  withSizingFlags(
    add(
      'predict',
      'how fast a model will be on a partition',
      'aim-gpu predict Qwen/Qwen3-8B --gpu MI300X --layout CPX/NPS1 --input-len 512 --output-len 128 --concurrency 8',
    ),
  )
    .argument('<model>', 'config.json, model directory or catalogue id')
    .requiredOption('--input-len <tokens>', 'tokens of a prompt', toWhole)
    .requiredOption('--output-len <tokens>', 'tokens of an answer', toWhole)
    .option(
      '--concurrency <n>',
      'clients, each sending its next request when the last is answered',
      toWhole,
    )
    .option('--request-rate <rate>', 'requests a second', toNumber)
    .option(
      '--lengths <how>',
      'fixed, or uniform:0.8 for lengths between 0.8 and 1 of nominal',
      'fixed',
    )
    .option('--with <model:load...>', 'models on the same partition and their requests a second')
    .option('--plot <file>', 'write an SVG of TPOT against concurrency')
    .option(
      '--speed-calibration <file>',
      "a file that measure wrote, or none; by default this host's own for the product and engine",
    )
    .action((model: string, options) =>
      run((context) => predictCommand(context, model, options))(options),
    );

  withSizingFlags(
    add(
      'measure',
      'measure an endpoint and let predictions on this host follow it',
      'aim-gpu measure http://127.0.0.1:8000 --config Qwen/Qwen3-8B --gpu MI300X --layout QPX/NPS1',
    ),
  )
    .argument('<url>', 'address of an OpenAI-compatible server')
    .option('--model <name>', 'model as the endpoint names it; by default its only one')
    .option('--config <model>', 'config.json, model directory, GGUF file or catalogue id of it')
    .option('--prompts <tokens,…>', 'prompt lengths of the sweep', toWholes, [128, 512, 1024])
    .option('--output-len <tokens>', 'tokens of an answer', toWhole, 64)
    .option('--concurrency <n,…>', 'clients at once', toWholes, [1, 4, 16])
    .option('--requests <n>', 'requests of each client at a setting', toWhole, 4)
    .option('--rounds <n>', 'times the sweep is made; medians count', toWhole, 1)
    .option('--no-checks', 'do not measure settings beside the sweep to hold the fit against')
    .option('--request-timeout <time>', 'longest wait for one answer', toTimeout, 120_000)
    .option('--budget <time>', 'longest time of the whole sweep', toTimeout, 1_200_000)
    .option('--kv-tokens <n>', "tokens of the engine's KV cache, where sizing cannot tell", toWhole)
    .option('--key-env <name>', "environment variable with the endpoint's key")
    .option('--out <file>', 'where the calibration goes; by default the state directory')
    .action((url: string, options: MeasureCommandOptions & CommonOptions) =>
      run((context) => measure(context, url, options))(options),
    );

  const profile = program
    .command('profile')
    .description("profiles for AMD's inference containers")
    .exitOverride()
    .addHelpText(
      'after',
      example(
        'aim-gpu profile generate Qwen/Qwen3-32B --gpu MI300X --layout DPX/NPS1 --out profiles',
      ),
    );
  const addProfile = (name: string, summary: string, words: string): Command =>
    withCommonOptions(profile.command(name).description(summary))
      .exitOverride()
      .addHelpText('after', example(words));
  withSizingFlags(
    addProfile(
      'generate',
      'make a profile whose limits fit a partition',
      'aim-gpu profile generate Qwen/Qwen3-32B --gpu MI300X --layout DPX/NPS1',
    ),
  )
    .argument('<model>', 'config.json, model directory or catalogue id')
    .option('--metric <name>', 'latency or throughput', 'throughput')
    .option('--out <dir>', 'write it below a directory instead of printing it')
    .action((model: string, options) =>
      run((context) => generateProfile(context, model, options))(options),
    );
  addProfile(
    'validate',
    "check profiles against AMD's schemas",
    'aim-gpu profile validate profiles/*.yaml --json',
  )
    .argument('<file...>', 'profiles')
    .action((files: string[], options) =>
      run((context) => validateProfiles(context, files))(options),
    );

  return program;
}

type Run = <O extends CommonOptions>(
  work: (context: CommandContext, options: O) => Promise<number>,
) => (options: O) => Promise<void>;

function addPartitions(program: Command, run: Run): Command {
  const partitions = program
    .command('partitions')
    .description('partitions of the cards: what they are and how they change')
    .exitOverride()
    .addHelpText('after', example('aim-gpu partitions list --driver rocm'));
  const add = (name: string, summary: string, usage: string): Command =>
    withDeviceOptions(withCommonOptions(partitions.command(name).description(summary)))
      .argument('[fleet]', 'fleet file; without it the cards of this host')
      .exitOverride()
      .addHelpText('after', example(usage));
  add(
    'list',
    'list partitions with capacity, use and separation',
    'aim-gpu partitions list fleet.yaml --json',
  ).action((file: string | undefined, options) =>
    run((context) => listPartitions(context, file, options))(options),
  );
  add(
    'watch',
    'tell every change of a layout, until Ctrl-C; --json prints one object a line',
    'aim-gpu partitions watch --driver rocm',
  )
    .option('--count <n>', 'end after so many changes', toWhole)
    .action((file: string | undefined, options) =>
      run((context) => watchPartitions(context, file, options))(options),
    );
  return partitions;
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

function example(usage: string): string {
  return `\nExample:\n  $ ${usage}\n`;
}
