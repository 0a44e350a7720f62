/** `aim-gpu simulate`: a machine as a directory that other commands read, until it is told to stop. */
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { systemClock } from '@aim-gpu/core';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { runCommandLine } from '../src/program.js';
import { createFakeIo, type FakeIo } from './support/fake-io.js';

let io: FakeIo;
beforeEach(() => {
  io = createFakeIo();
});
afterEach(() => io.remove());

it('is read by gpus, told to stop, and goes on as it was', async () => {
  for (const round of [1, 2]) {
    const machine = createFakeIo();
    const root = path.join(io.directory, 'tree');
    const argv = ['simulate', root, '--product', 'MI300A', '--cards', '2', '--json'];
    const ended = runCommandLine(argv, machine);
    while (machine.out() === '') await systemClock.sleep(5);
    expect(JSON.parse(machine.out())).toEqual({
      event: 'ready',
      root,
      tools: path.join(root, 'bin'),
    });
    const reader = createFakeIo();
    expect(
      await runCommandLine(['gpus', '--driver', 'rocm', '--root', root, '--json'], reader),
    ).toBe(0);
    expect(JSON.parse(reader.out())).toMatchObject({
      cards: [{ product: 'MI300A', layout: { compute: 'SPX', memory: 'NPS1' } }, {}],
      problems: [],
    });
    expect(existsSync(path.join(root, 'device.sock'))).toBe(true);
    machine.stop('SIGINT');
    expect([round, await ended]).toEqual([round, 0]);
    expect(existsSync(path.join(root, 'device.sock'))).toBe(false);
    reader.remove();
    machine.remove();
  }
});

it.each([
  [['--product', 'MI999'], 'there is no product MI999'],
  [['--cards', '9'], '9 cards'],
  [['--kernel', 'old'], 'there is no kernel old'],
])('refuses %j', async (flags, message) => {
  const root = path.join(io.directory, 'tree');
  expect(await runCommandLine(['simulate', root, ...flags], io)).toBe(2);
  expect(io.error()).toContain(message);
  expect(existsSync(root)).toBe(false);
});

it('refuses a directory with something else in it', async () => {
  writeFileSync(path.join(io.directory, 'mine'), '');
  expect(await runCommandLine(['simulate', io.directory], io)).toBe(5);
  expect(io.error()).toContain('has other files in it');
});
