/**
 * The part of the command line that is about one model: how large, where it fits, how fast, its profile. Owns its
 * grammar; what a command does is in its own file under commands/.
 */
import type { CommandTools } from './command-tools.js';
import type { MeasureCommandOptions } from './commands/measure.js';
import type { CommonOptions } from './context.js';
import { toNumber, toTimeout, toWhole, toWholes } from './shared-flags.js';
import { withSizingFlags } from './sizing-flags.js';

const MODEL = 'config.json, model directory or catalogue id';

/** Adds `size`, `fit`, `predict`, `measure` and `profile`. */
export function addModelCommands(tools: CommandTools): void {
  addSizing(tools);
  addPredict(tools);
  addMeasure(tools);
  addProfiles(tools);
}

function addSizing({ add, run }: CommandTools): void {
  withSizingFlags(
    add(
      'size',
      'how many bytes a model takes, each explained',
      'aim-gpu size Qwen/Qwen3-32B-FP8 --gpu MI300X --layout QPX/NPS1',
    ),
  )
    .argument('<model>', MODEL)
    .option(
      '--calibrate <log>',
      "compare with an engine's start-up log and write what this host needs",
    )
    .option('--out <file>', 'where the calibration goes; by default beside the log')
    .action((model: string, options) =>
      run(async (context) => {
        const { size } = await import('./commands/size.js');
        return size(context, model, options);
      })(options),
    );

  withSizingFlags(
    add(
      'fit',
      'which layouts of a product hold a model',
      'aim-gpu fit Qwen/Qwen3-32B-FP8 --gpu MI300X --concurrency 4',
    ),
  )
    .argument('<model>', MODEL)
    .option('--concurrency <n>', 'sequences of the whole context that must fit', toWhole)
    .action((model: string, options) =>
      run(async (context) => {
        const { fit } = await import('./commands/fit.js');
        return fit(context, model, options);
      })(options),
    );
}

function addPredict({ add, run }: CommandTools): void {
  withSizingFlags(
    add(
      'predict',
      'how fast a model will be on a partition',
      'aim-gpu predict Qwen/Qwen3-8B --gpu MI300X --layout CPX/NPS1 --input-len 512 --output-len 128 --concurrency 8',
    ),
  )
    .argument('<model>', MODEL)
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
      run(async (context) => {
        const { predictCommand } = await import('./commands/predict.js');
        return predictCommand(context, model, options);
      })(options),
    );
}

function addMeasure({ add, run }: CommandTools): void {
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
      run(async (context) => {
        const { measure } = await import('./commands/measure.js');
        return measure(context, url, options);
      })(options),
    );
}

function addProfiles({ addGroup, addTo, run }: CommandTools): void {
  const profile = addGroup(
    'profile',
    "profiles for AMD's inference containers",
    'aim-gpu profile generate Qwen/Qwen3-32B --gpu MI300X --layout DPX/NPS1 --out profiles',
  );
  withSizingFlags(
    addTo(
      profile,
      'generate',
      'make a profile whose limits fit a partition',
      'aim-gpu profile generate Qwen/Qwen3-32B --gpu MI300X --layout DPX/NPS1',
    ),
  )
    .argument('<model>', MODEL)
    .option('--metric <name>', 'latency or throughput', 'throughput')
    .option('--out <dir>', 'write it below a directory instead of printing it')
    .action((model: string, options) =>
      run(async (context) => {
        const { generateProfile } = await import('./commands/profile.js');
        return generateProfile(context, model, options);
      })(options),
    );
  addTo(
    profile,
    'validate',
    "check profiles against AMD's schemas",
    'aim-gpu profile validate profiles/*.yaml --json',
  )
    .argument('<file...>', 'profiles')
    .action((files: string[], options) =>
      run(async (context) => {
        const { validateProfiles } = await import('./commands/profile.js');
        return validateProfiles(context, files);
      })(options),
    );
}
