/**
 * The part of the command line that shows cards as they are, or simulates them: `gpus`, `doctor`, `capture`,
 * `conformance`, `simulate`. Owns its grammar; what a command does is in its own file under commands/.
 */
import type { CommandTools } from './command-tools.js';
import { toWhole, withDeviceOptions, withReload, withRoot } from './shared-flags.js';

/** Adds the commands. */
export function addDeviceCommands({ add, run }: CommandTools): void {
  withDeviceOptions(
    add('gpus', 'list cards and partitions as read back', 'aim-gpu gpus fleet.yaml --json'),
  )
    .argument('[fleet]', 'fleet file; without it the cards of this host')
    .action((file: string | undefined, options) =>
      run(async (context) => {
        const { gpus } = await import('./commands/gpus.js');
        return gpus(context, file, options);
      })(options),
    );

  withRoot(
    add('doctor', 'tell why GPUs cannot be used or changed, and what to do', 'aim-gpu doctor'),
  ).action((options) =>
    run(async (context) => {
      const { doctor } = await import('./commands/doctor.js');
      return doctor(context, options);
    })(options),
  );

  withRoot(
    add(
      'capture',
      'record what this host shows of its GPUs, ids and names taken out, to be sent with an issue',
      'aim-gpu capture --out capture.json',
    ),
  )
    .option('--out <file>', 'where it goes (default: aim-gpu-capture.json)')
    .action((options) =>
      run(async (context) => {
        const { capture } = await import('./commands/capture.js');
        return capture(context, options);
      })(options),
    );

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
    .action((options) =>
      run(async (context) => {
        const { conformance } = await import('./commands/conformance.js');
        return conformance(context, options);
      })(options),
    );

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
      run(async (context) => {
        const { simulate } = await import('./commands/simulate.js');
        return simulate(context, directory, options);
      })(options),
    );
}
