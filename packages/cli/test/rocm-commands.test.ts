/**
 * Commands about real cards over trees: what they print, their exit codes, and what they say where there is no card, or
 * none that this user may use. The last run as nobody, since root may do everything.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runCommandLine } from '../src/program.js';
import { bundleProgram } from './support/bundle.js';
import { createFakeIo, type FakeIo } from './support/fake-io.js';
import { CARD, KFD_NODE, writeRocmTree, writeTreeFile } from './support/rocm-tree.js';

const NOBODY = 65_534;
const FLEET = `apiVersion: aim-gpu/v1alpha1
kind: Fleet
metadata: { name: real }
nodes:
  - { name: node-a, driver: rocm }
models:
  - { name: tiny, source: meta-llama/Llama-3.2-1B-Instruct, concurrency: 2, maxModelLen: 2048, engine: simulated }
`;

let io: FakeIo;
let root: string;
beforeEach(() => {
  io = createFakeIo({ USER: 'alice' });
  root = path.join(io.directory, 'tree');
  mkdirSync(root);
});
afterEach(() => io.remove());

const run = (...argv: string[]): Promise<number> => runCommandLine([...argv, '--root', root], io);
const json = (): Record<string, unknown> => JSON.parse(io.out()) as Record<string, unknown>;
const rocm = ['--driver', 'rocm'];

it.each(['partitions', 'partitions list', 'partitions watch', 'doctor', 'capture'])(
  '--help of "%s" has an example',
  async (words) => {
    expect(await runCommandLine([...words.split(' '), '--help'], io)).toBe(0);
    expect(io.out()).toContain(`Example:\n  $ aim-gpu ${words}`);
  },
);

describe('on a machine without amdgpu', () => {
  it.each([
    ['gpus', ...rocm],
    ['partitions', 'list', ...rocm],
    ['plan', 'FLEET'],
    ['up', 'FLEET'],
  ])('%s %s: ERR_DEVICE_UNKNOWN, exit 4, and where to go from there', async (...argv) => {
    const fleet = io.write('fleet.yaml', FLEET);
    const args = argv.map((argument) => (argument === 'FLEET' ? fleet : argument));
    expect(await run(...args, '--json')).toBe(4);
    const error = json()['error'] as Record<string, unknown>;
    expect(error).toMatchObject({ code: 'ERR_DEVICE_UNKNOWN', kind: 'missing' });
    expect(error['hint']).toMatch(/aim-gpu doctor/);
  });

  it('doctor says what is not there and what to do, exit 4', async () => {
    expect(await run('doctor')).toBe(4);
    expect(io.out()).toBe(
      `0 cards, 0 partitions; kernel unknown, amdgpu not loaded, amd-smi not installed
error: this machine shows no AMD GPU and no amdgpu driver [NO_GPU]
  seen: sys/module/amdgpu absent, sys/class/kfd/kfd absent, no AMD device in sys/bus/pci/devices
  do: run it on the GPU host, or try everything out with \`driver: simulated\` in the fleet file
errors: 1, warnings: 0, notes: 0
`,
    );
  });

  it('doctor knows a card that vfio has, and one without a driver', async () => {
    const device = 'sys/bus/pci/devices/0000:0c:00.0';
    writeTreeFile(root, `${device}/vendor`, '0x1002\n');
    writeTreeFile(root, `${device}/class`, '0x120000\n');
    writeTreeFile(root, `${device}/device`, '0x74a1\n');
    expect(await run('doctor', '--json')).toBe(4);
    expect(json()).toMatchObject({
      ok: false,
      cards: 0,
      findings: [{ code: 'DRIVER_NOT_LOADED' }],
    });
  });

  it('a root that is not there is told apart: ERR_FILE_MISSING, exit 4', async () => {
    root = path.join(root, 'none');
    expect(await run('gpus', ...rocm, '--json')).toBe(4);
    expect(json()['error']).toMatchObject({ code: 'ERR_FILE_MISSING' });
  });
});

describe('on a machine with a card', () => {
  beforeEach(() => writeRocmTree(root));

  it('partitions list shows capacity, use and separation', async () => {
    writeTreeFile(root, `${CARD}/enforce_isolation`, '1\n');
    writeTreeFile(root, `${CARD}/mem_info_vram_used`, '1073741824\n');
    expect(await run('partitions', 'list', ...rocm, '--json')).toBe(0);
    expect(json()).toEqual({
      cards: [
        {
          id: '0000:0c:00.0',
          product: 'MI300X',
          layout: { compute: 'SPX', memory: 'NPS1' },
          offered: [
            'SPX/NPS1',
            'DPX/NPS1',
            'DPX/NPS2',
            'QPX/NPS1',
            'QPX/NPS4',
            'CPX/NPS1',
            'CPX/NPS4',
          ],
          writable: true,
          resetting: false,
          memoryUsedBytes: 1_073_741_824,
          memoryAllocation: null,
          ras: null,
          partitions: [
            {
              index: 0,
              xcds: 8,
              computeUnits: 304,
              memoryBytes: 206_141_652_992,
              renderMinor: 128,
              uuid: 'GPU-112210f47de98115',
              kfdNode: 1,
              memoryUsedBytes: null,
              isolated: true,
            },
          ],
        },
      ],
      problems: [],
    });
  });

  it('partitions list for people', async () => {
    expect(await run('partitions', 'list', ...rocm)).toBe(0);
    const [head, row] = io.out().split('\n');
    expect(head).toMatch(
      /^PARTITION\s+LAYOUT\s+CUS\s+MEMORY\s+USED\s+ISOLATED\s+RENDER NODE\s+UUID$/,
    );
    expect(row).toMatch(
      /^0000:0c:00\.0\/0\s+SPX\/NPS1\s+304\s+192\.0 GiB\s+\?\s+\?\s+renderD128\s+GPU-/,
    );
  });

  it('partitions watch tells a change, one object a line, and ends by itself or when stopped', async () => {
    const watching = run('partitions', 'watch', ...rocm, '--json', '--count', '1');
    // Nothing is told until the first look is over: change again and again until it was seen.
    const modes = ['DPX', 'SPX'];
    for (let turn = 0; turn < 100 && io.out() === ''; turn += 1) {
      writeTreeFile(root, `${CARD}/current_compute_partition`, `${modes[turn % 2]}\n`);
      await new Promise((resolve) => setTimeout(resolve, 700));
    }
    expect(await watching).toBe(0);
    const lines = io.out().trim().split('\n');
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ event: 'changed', card: '0000:0c:00.0' });

    const stopped = run('partitions', 'watch', ...rocm);
    await new Promise((resolve) => setTimeout(resolve, 50));
    io.stop('SIGINT');
    expect(await stopped).toBe(0);
  });

  it('capture makes a file that every command takes for --root, without the user in it', async () => {
    writeTreeFile(root, 'proc/self/cgroup', '0::/user.slice/alice.scope\n');
    writeTreeFile(root, 'proc/sys/kernel/osrelease', '6.8.0-test-host\n');
    const file = path.join(io.directory, 'capture.json');
    expect(await run('capture', '--out', file, '--json')).toBe(0);
    expect(json()).toMatchObject({ file, commands: 0 });
    const text = readFileSync(file, 'utf8');
    expect(text).not.toContain('alice');
    expect(text).not.toContain('test-host');
    expect(text).not.toContain('1234567890123456789');

    const gpus = async (from: string): Promise<unknown> => {
      const other = createFakeIo();
      await runCommandLine(['gpus', ...rocm, '--root', from, '--json'], other);
      other.remove();
      const text = other.out().replace(/"uuid":"GPU-[0-9a-f]{16}"/, '"uuid":"GPU"');
      return JSON.parse(text);
    };
    expect(await gpus(file)).toEqual(await gpus(root));
    expect(await run('capture', '--out', file)).toBe(5);
    expect(io.error()).toMatch(/is there already/);
  });

  it('doctor has nothing against it but the missing tool', async () => {
    expect(await run('doctor', '--json')).toBe(0);
    const { findings } = json() as { findings: { code: string; level: string }[] };
    expect(findings.map((finding) => finding.code)).toEqual(['TOOL_MISSING']);
  });
});

describe('as a user without rights', () => {
  // The program in one folder that anybody may read: nobody else may be able to read the checkout.
  let program: string;
  beforeAll(async () => {
    program = mkdtempSync(path.join(tmpdir(), 'aim-gpu-readable-'));
    chmodSync(program, 0o755);
    await bundleProgram(program);
  });
  afterAll(() => rmSync(program, { recursive: true }));

  /** Runs a command line as nobody. */
  const asNobody = (...argv: string[]): { readonly code: number; readonly out: string } => {
    const script = `
      const { main } = await import(${JSON.stringify(path.join(program, 'main.js'))});
      if (process.getuid() === 0) { process.setgroups([]); process.setgid(${NOBODY}); process.setuid(${NOBODY}); }
      process.stdout.write('\\nexit ' + (await main(${JSON.stringify(argv)})));`;
    const text = execFileSync(process.execPath, ['--input-type=module', '--eval', script], {
      cwd: program,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [, out = '', code = ''] = /^([\s\S]*)\nexit (\d+)$/.exec(text) ?? [];
    return { code: Number(code), out };
  };
  const shut = (file: string, mode: number): void => chmodSync(path.join(root, file), mode);

  beforeEach(() => {
    writeRocmTree(root);
    chmodSync(io.directory, 0o777);
    chmodSync(root, 0o755);
  });

  it('up says that the device files may not be opened: ERR_DRIVER_PERMISSION, exit 3', () => {
    shut('dev/dri/renderD128', 0o660);
    // The catalogue is part of the checkout, which nobody else may be able to read.
    const catalogue = '../../sizing/data/configs/meta-llama__Llama-3.2-1B-Instruct.json';
    io.write('model.json', readFileSync(new URL(catalogue, import.meta.url), 'utf8'));
    const fleet = io.write('fleet.yaml', FLEET.replace(/source: [^,]+/, 'source: ./model.json'));
    const state = path.join(io.directory, 'state');
    const { code, out } = asNobody('up', fleet, '--root', root, '--json', '--state-dir', state);
    expect(code).toBe(3);
    expect(JSON.parse(out)).toMatchObject({
      error: {
        code: 'ERR_DRIVER_PERMISSION',
        kind: 'denied',
        details: { file: '/dev/dri/renderD128', mode: 0o660 },
      },
    });
  });

  it('gpus says that nothing may be read, exit 3; doctor agrees', () => {
    shut(path.dirname(CARD), 0);
    shut(path.dirname(KFD_NODE), 0);
    const seen = asNobody('gpus', ...rocm, '--root', root, '--json');
    expect(seen.code).toBe(3);
    expect(JSON.parse(seen.out)).toMatchObject({
      error: { code: 'ERR_DRIVER_PERMISSION', hint: expect.stringContaining('root') },
    });
    const doctor = asNobody('doctor', '--root', root, '--json');
    expect(JSON.parse(doctor.out)).toMatchObject({ ok: false, cards: 0 });
    expect(doctor.out).toContain('PERMISSION_DENIED');
  });

  it('doctor names the device file, its group and the fix, exit 3', () => {
    shut('dev/kfd', 0o660);
    const { code, out } = asNobody('doctor', '--root', root);
    expect(code).toBe(3);
    expect(out).toMatch(/may not use 1 of 2 device files.*\[DEVICE_FILES_DENIED\]/);
    expect(out).toMatch(/seen: \/dev\/kfd has mode 0660 and group \d+/);
    expect(out).toMatch(/do: add the user to the group/);
  });
});
