/** The command that a degraded stop tells people to type: exact for this state directory and node, and it works. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCommandLine } from '../src/program.js';
import { resumeCommand } from '../src/resume-command.js';
import { createFakeIo, type FakeIo, SMALL_FLEET } from './support/fake-io.js';

const CONTEXT = { stateDirectory: '/var/lib/aim-gpu', resolve: (file: string) => `/srv/${file}` };

describe('resumeCommand', () => {
  it.each([
    [
      'between',
      { driver: 'rocm', node: 'a', allowDriverReload: true },
      'aim-gpu partition rollback --state-dir /var/lib/aim-gpu --node a --driver rocm --allow-driver-reload',
    ],
    [
      'memory-split',
      { driver: 'rocm', fleet: 'my fleet.yaml' },
      "aim-gpu partition rollback --state-dir /var/lib/aim-gpu --fleet '/srv/my fleet.yaml' --driver rocm",
    ],
    ['unreadable', { driver: 'rocm' }, 'aim-gpu doctor'],
    ['unreadable', { driver: 'rocm', root: 'it’s' }, "aim-gpu doctor --root '/srv/it’s'"],
    [
      'unreadable',
      { driver: 'simulated' },
      'aim-gpu partition rollback --state-dir /var/lib/aim-gpu --driver simulated',
    ],
  ] as const)('%s %j', (state, options, line) => {
    expect(resumeCommand(CONTEXT, state, options)).toBe(line);
  });

  it('quotes what a shell would take apart', () => {
    const context = { ...CONTEXT, stateDirectory: "/a'b" };
    expect(resumeCommand(context, 'between', {})).toContain(`--state-dir '/a'\\''b'`);
  });
});

describe('typed', () => {
  let io: FakeIo;
  beforeEach(() => {
    io = createFakeIo();
  });
  afterEach(() => io.remove());

  it('it leads to the same node and takes the change back', async () => {
    const fleet = io.write('fleet.yaml', SMALL_FLEET);
    const node = ['--fleet', fleet, '--state-dir', 'elsewhere', '--json'];
    expect(await runCommandLine(['partition', 'apply', 'QPX/NPS1', ...node], io)).toBe(0);
    const line = resumeCommand(
      {
        stateDirectory: `${io.directory}/elsewhere`,
        resolve: (file) => file,
      },
      'between',
      { node: 'node-a', driver: 'simulated' },
    );
    expect(await runCommandLine(line.split(' ').slice(1), io)).toBe(0);
    expect(await runCommandLine(['partition', 'assert', 'SPX/NPS1', ...node], io)).toBe(0);
  }, 60_000);
});
