/**
 * The main job through the driver of real cards: `aim-gpu simulate` keeps a machine live as a directory, and
 * `up --driver rocm --root` splits its card by writing its files, runs every model of the quickstart on it (as simulated
 * engines, which the fleet says), and comes to the same end after kill -9 in the middle of the switch.
 */
import { type ChildProcess, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import OpenAI from 'openai';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createPlace, type Place, QUICKSTART, run, start } from './support/command.js';
import { processesOf, startUp, until } from './support/running.js';

const CARD = '0000:0c:00.0';
const MODE = `sys/module/amdgpu/drivers/pci:amdgpu/${CARD}/current_compute_partition`;

let place: Place;
let root: string;
let machine: ChildProcess;

/** Starts a machine in the directory and waits until it is live. */
async function startMachine(): Promise<ChildProcess> {
  const child = start(['simulate', root, '--json']);
  await new Promise<void>((resolve, reject) => {
    child.once('close', (code) => reject(new Error(`simulate ended with ${code}`)));
    if (child.stdout !== null) createInterface(child.stdout).once('line', () => resolve());
  });
  return child;
}

beforeEach(async () => {
  place = createPlace();
  root = path.join(place.directory, 'machine');
  machine = await startMachine();
});
afterEach(async () => {
  const ended = new Promise((resolve) => machine.once('close', resolve));
  machine.kill('SIGINT');
  await ended;
  place.remove();
});

/** The quickstart on real cards, with the engines it then has to name. */
function writeFleet(): string {
  const text = readFileSync(QUICKSTART, 'utf8')
    .replace('    driver: simulated\n', '    driver: rocm\n')
    .replace(/ {4}cards: .*\n/, '')
    .replaceAll(/^ {4}source: .*\n/gm, (line) => `${line}    engine: simulated\n`);
  return place.write('fleet.yaml', text);
}

const mode = (): string => readFileSync(path.join(root, MODE), 'utf8').trim();
/** Processes that hold cards, as the tree shows them. */
const holders = (): readonly string[] =>
  readdirSync(path.join(root, 'proc')).filter((name) => /^\d+$/.test(name));

async function answers(gateway: string): Promise<readonly string[]> {
  const client = new OpenAI({ baseURL: `${gateway}/v1`, apiKey: 'anonymous', maxRetries: 0 });
  const models = (await client.models.list()).data.map((model) => model.id).toSorted();
  for (const model of models) {
    const answer = await client.chat.completions.create({
      model,
      max_tokens: 4,
      messages: [{ role: 'user', content: 'Say something.' }],
    });
    expect(answer.choices[0]?.message.content).not.toBe('');
  }
  return models;
}

it('splits the card, serves every model, and holds the card while it does', async () => {
  const up = await startUp(writeFleet(), place.stateDirectory, ['--root', root]);
  expect(mode()).toBe('QPX');
  expect(await answers(up.ready.gateway)).toEqual(
    expect.arrayContaining(['assistant', 'coder', 'drafts', 'guard', 'writer']),
  );
  expect(holders()).toHaveLength(5);
  // What works on a real node works here: the card is in use, and its own tool says so.
  const set = spawnSync(path.join(root, 'bin/amd-smi'), ['set', '-g', CARD, '-C', 'CPX']);
  expect(set.status).toBe(1);
  expect(String(set.stderr)).toContain('AMDSMI_STATUS_BUSY');
  const seen = await run(['gpus', '--driver', 'rocm', '--root', root, '--json']);
  expect(JSON.parse(seen.stdout)).toMatchObject({
    cards: [{ id: CARD, layout: { compute: 'QPX', memory: 'NPS1' } }],
    problems: [],
  });
  expect(await up.stop()).toBe(0);
  await until('the card is free', () => holders().length === 0, 10_000);
  expect(processesOf(place.stateDirectory)).toEqual([]);
}, 120_000);

it('killed in the middle of the switch and started again, it comes to the same layout', async () => {
  const fleet = writeFleet();
  const ports = ['--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0'];
  const args = ['up', fleet, '--json', '--state-dir', place.stateDirectory, '--root', root];
  const first = start([...args, ...ports]);
  const ended = new Promise((resolve) => first.once('close', resolve));
  await until('the card is being switched', () => mode() === '', 60_000);
  first.kill('SIGKILL');
  await ended;
  const up = await startUp(fleet, place.stateDirectory, ['--root', root]);
  expect(mode()).toBe('QPX');
  expect(await answers(up.ready.gateway)).toContain('assistant');
  expect(holders()).toHaveLength(5);
  expect(await up.stop()).toBe(0);
}, 120_000);

it('goes on as it was when the machine itself was killed', async () => {
  const set = spawnSync(path.join(root, 'bin/amd-smi'), ['set', '-g', CARD, '-C', 'DPX']);
  expect(set.status).toBe(0);
  const ended = new Promise((resolve) => machine.once('close', resolve));
  machine.kill('SIGKILL');
  await ended;
  machine = await startMachine();
  await until('the card is in DPX', () => mode() === 'DPX', 10_000);
}, 60_000);
