/**
 * The part of the command line that takes a fleet file and runs it in the foreground, or says what would be run. Owns
 * its grammar; what a command does is in its own file under commands/.
 */
import type { CommandTools } from './command-tools.js';
import { withDeviceOptions, withFleetOptions, withServeOptions } from './shared-flags.js';

/** Adds `validate`, `plan` and `up`. */
export function addFleetCommands({ add, run }: CommandTools): void {
  withFleetOptions(
    add(
      'validate',
      'check a fleet file; --json prints it with every default',
      'aim-gpu validate fleet.yaml',
    ),
  )
    .argument('<fleet>', 'fleet file')
    .action((file: string, options) =>
      run(async (context) => {
        const { validate } = await import('./commands/validate.js');
        return validate(context, file, options);
      })(options),
    );

  withDeviceOptions(
    add('plan', 'show what would be done, without doing it', 'aim-gpu plan fleet.yaml --json'),
  )
    .argument('<fleet>', 'fleet file')
    .option(
      '--what-if <change...>',
      'compare: add-card:MI300X remove-card:ID remove-model:NAME layout:ID=QPX/NPS1',
    )
    .option('--usage', 'show what of each card is used, and what each model costs')
    .action((file: string, options) =>
      run(async (context) => {
        if (options.usage === true) {
          const { askUsage } = await import('./commands/ask-planner.js');
          return askUsage(context, { ...options, file });
        }
        if (options.whatIf !== undefined) {
          const { askWhatIf } = await import('./commands/ask-planner.js');
          return askWhatIf(context, { ...options, file });
        }
        const { plan } = await import('./commands/plan.js');
        return plan(context, file, options);
      })(options),
    );

  withServeOptions(
    add(
      'up',
      'split the GPUs, start the engines and serve, until Ctrl-C',
      'aim-gpu up fleet.yaml --listen 127.0.0.1:8080',
    ),
  )
    .argument('<fleet>', 'fleet file')
    .option('--restore-layout', 'on exit, bring the cards back to the layout they had')
    .action((file: string, options) =>
      run(async (context) => {
        const { up } = await import('./commands/up.js');
        return up(context, file, options);
      })(options),
    );
}
