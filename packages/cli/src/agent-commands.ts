/**
 * The part of the command line that runs an agent as a service or talks to a running one. Owns its grammar; what a
 * command does is in its own file under commands/.
 */
import type { CommandTools } from './command-tools.js';
import { toTimeout, toWhole, withFleetOptions, withServeOptions } from './shared-flags.js';

/** Adds the commands. */
export function addAgentCommands({ add, run }: CommandTools): void {
  withServeOptions(
    add(
      'agent',
      'run the agent as a service: its engines outlive it and are taken over',
      'aim-gpu agent fleet.yaml --print-unit > /etc/systemd/system/aim-gpu.service',
    ),
  )
    .argument('[fleet]', 'fleet file; without it the fleet that was applied last')
    .option('--api-listen <address>', 'serve the API over TCP too')
    .option('--api-token <file>', 'file with the token that clients of the API send')
    .option('--api-cert <file>', 'certificate of the API (PEM)')
    .option('--api-key <file>', 'private key of the API (PEM)')
    .option('--print-unit', 'print a systemd unit that runs this command')
    .action((file: string | undefined, options) =>
      run(async (context) => {
        const { agent } = await import('./commands/agent.js');
        return agent(context, file, options);
      })(options),
    );

  withFleetOptions(
    add(
      'apply',
      'bring the running agent to a fleet; --dry-run says what would change',
      'aim-gpu apply fleet.yaml --dry-run',
    ),
  )
    .argument('<fleet>', 'fleet file')
    .option('--dry-run', 'say what would change and change nothing')
    .option('--plan <file>', 'a plan made earlier; refused when the machine has changed since')
    .option('--no-wait', 'return when the engines are being started')
    .option('--timeout <time>', 'longest wait for the engines', toTimeout, 1_800_000)
    .action((file: string, options) =>
      run(async (context) => {
        const { apply } = await import('./commands/apply.js');
        return apply(context, file, { ...options, timeoutMs: options.timeout });
      })(options),
    );

  add('status', 'show what the running agent does', 'aim-gpu status').action((options) =>
    run(async (context) => {
      const { status } = await import('./commands/status.js');
      return status(context);
    })(options),
  );

  add(
    'down',
    'stop the running agent: drain, stop the engines, release the shares',
    'aim-gpu down --restore-layout',
  )
    .option('--restore-layout', 'bring the cards back to the layout they had')
    .option('--timeout <time>', 'longest wait', toTimeout, 120_000)
    .action((options) =>
      run(async (context) => {
        const { down } = await import('./commands/down.js');
        return down(context, {
          restoreLayout: options.restoreLayout === true,
          timeoutMs: options.timeout,
        });
      })(options),
    );

  add('top', 'show what every model and engine does now', 'aim-gpu top')
    .option('--every <time>', 'redraw interval', toTimeout, 1000)
    .option('--once', 'show it once, also on a terminal')
    .action((options) =>
      run(async (context) => {
        const { top } = await import('./commands/top.js');
        return top(context, { ...options, everyMs: options.every });
      })(options),
    );

  add('events', 'show what happened on the node', 'aim-gpu events --follow')
    .option('--follow', 'go on with what happens from now on')
    .option('--after <id>', 'only events after this one', toWhole)
    .option('--since <time>', 'only events from a time on: 10m (ago), or 2026-11-25T14:00:00Z')
    .action((options) =>
      run(async (context) => {
        const { events } = await import('./commands/events.js');
        return events(context, options);
      })(options),
    );

  add('logs', 'show the last lines an engine printed', 'aim-gpu logs assistant-0')
    .argument('<instance>', 'instance, as status names it')
    .action((instance: string, options) =>
      run(async (context) => {
        const { logs } = await import('./commands/logs.js');
        return logs(context, instance);
      })(options),
    );

  add('drain', 'keep new requests away from an instance', 'aim-gpu drain assistant-0')
    .argument('[instance]', 'instance; every one when left out')
    .option('--undo', 'let it take requests again')
    .action((instance: string | undefined, options) =>
      run(async (context) => {
        const { drain } = await import('./commands/drain.js');
        return drain(context, instance, options);
      })(options),
    );

  add('restart', 'give an instance a new process', 'aim-gpu restart assistant-0')
    .argument('<instance>', 'instance, as status names it')
    .action((instance: string, options) =>
      run(async (context) => {
        const { restart } = await import('./commands/drain.js');
        return restart(context, instance);
      })(options),
    );

  add(
    'support-bundle',
    'write what somebody needs to help you into one file, without secrets',
    'aim-gpu support-bundle --out /tmp/support.json.gz',
  )
    .option('--out <file>', 'where it goes; by default aim-gpu-support.json.gz here')
    .option('--with-logs', "include the last lines of every engine; they may hold users' prompts")
    .action((options) =>
      run(async (context) => {
        const { supportBundle } = await import('./commands/support-bundle.js');
        return supportBundle(context, options);
      })(options),
    );
}
