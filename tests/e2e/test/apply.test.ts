/**
 * The quickstart while it runs: a sixth model, a model too many, an engine that dies under load.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPlace, type Place, QUICKSTART, run } from './support/command.js';
import { pidsOf, viewNode } from './support/node-view.js';
import { ask, startProbe } from './support/probe.js';
import { processesOf, type Running, startUp, until } from './support/running.js';

const MODELS = ['assistant', 'coder', 'writer', 'guard', 'drafts'];

let place: Place;
let up: Running;
beforeAll(async () => {
  place = createPlace();
  up = await startUp(QUICKSTART, place.stateDirectory);
}, 90_000);
afterAll(async () => {
  await up.stop();
  expect(processesOf(place.stateDirectory)).toEqual([]);
  place.remove();
}, 60_000);

/** The quickstart's file with one more model. */
function withSixth(model: string): string {
  const text = readFileSync(QUICKSTART, 'utf8').replace('\npolicy:', `\n  - ${model}\npolicy:`);
  return place.write('six.yaml', text);
}

const apply = (file: string, ...more: readonly string[]) =>
  run(['apply', file, '--json', '--state-dir', place.stateDirectory, ...more]);

function post(model: string, more: object = {}): Promise<Response> {
  return fetch(`${up.ready.gateway}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model,
      messages: [{ role: 'user', content: 'hello' }],
      max_tokens: 8,
      ...more,
    }),
  });
}

interface Applied {
  readonly dryRun: boolean;
  readonly state: string | null;
  readonly diff: {
    readonly layouts: readonly { readonly stops: readonly string[] }[];
    readonly instances: readonly {
      readonly instance: string;
      readonly change: string;
      readonly downtime: boolean;
    }[];
  };
}

const changesOf = ({ stdout }: { readonly stdout: string }) => {
  const { diff } = JSON.parse(stdout) as Applied;
  return Object.fromEntries(diff.instances.map(({ instance, change }) => [instance, change]));
};

describe('a sixth model applied to the running quickstart', () => {
  const small =
    '{ name: sixth, source: Qwen/Qwen3-1.7B, concurrency: 1, maxModelLen: 2048, band: best_effort, load: { requestsPerSecond: 0.02, promptTokens: 100, outputTokens: 10 } }';

  it('that has room is added, and the other five are untouched', { timeout: 60_000 }, async () => {
    const before = await viewNode(place.stateDirectory);
    const file = withSixth(small);
    const tried = await apply(file, '--dry-run');
    expect(tried.code).toBe(0);
    expect(changesOf(tried)).toMatchObject({ 'sixth-0': 'add', 'assistant-0': 'keep' });
    expect(await viewNode(place.stateDirectory)).toEqual(before);

    const ended = await apply(file);
    expect(ended.stderr).not.toContain('error');
    expect(ended.code).toBe(0);
    const after = await viewNode(place.stateDirectory);
    expect(after.instances).toHaveLength(6);
    expect(pidsOf(after)).toMatchObject(pidsOf(before));
    expect((await post('sixth')).status).toBe(200);
  });

  it('that is too much is refused with the nearest fix, and nothing changes', {
    timeout: 60_000,
  }, async () => {
    const before = await viewNode(place.stateDirectory);
    const large =
      '{ name: seventh, source: meta-llama/Llama-3.1-8B-Instruct, concurrency: 8, maxModelLen: 8192, band: critical, placement: { exclusive: true } }';
    const ended = await apply(withSixth(large));
    expect(ended.code).toBe(6);
    const { error } = JSON.parse(ended.stdout) as { error: { code: string; hint: string } };
    expect(error.code).toBe('ERR_UNPLACED');
    // Names who would make room.
    expect(error.hint).toMatch(
      /add a card, or remove \w+ \(best_effort\) or lower its concurrency/,
    );
    expect(await viewNode(place.stateDirectory)).toEqual(before);
  });

  it('a plan made for another time is a conflict', { timeout: 30_000 }, async () => {
    const made = await run(['plan', QUICKSTART, '--json', '--state-dir', place.stateDirectory]);
    const plan = JSON.parse(made.stdout) as { observed: { generation: string } };
    const stale = place.write(
      'plan.json',
      JSON.stringify({ ...plan, observed: { generation: 'long ago' } }),
    );
    const ended = await apply(QUICKSTART, '--plan', stale);
    expect(ended.code).toBe(5);
    expect(JSON.parse(ended.stdout)).toMatchObject({ error: { code: 'ERR_PLAN_STALE' } });
  });

  it('on two cards brings a planned repartition: what the plan stops is down, the others lose no request', {
    timeout: 120_000,
  }, async () => {
    const other = createPlace();
    const { stateDirectory } = other;
    // The fifth model has a card of its own then, and nowhere else to go.
    const text = readFileSync(QUICKSTART, 'utf8')
      .replace('count: 1', 'count: 2')
      .replace('band: best_effort\n', 'band: best_effort\n    placement: { exclusive: true }\n');
    const large =
      '{ name: sixth, source: meta-llama/Llama-3.1-8B-Instruct, concurrency: 8, maxModelLen: 8192, band: interactive, placement: { exclusive: true } }';
    const more = text.replace('\npolicy:', `\n  - ${large}\npolicy:`);
    const running = await startUp(other.write('two.yaml', text), stateDirectory);
    const file = other.write('six.yaml', more);
    const before = pidsOf(await viewNode(stateDirectory));
    const tried = await run(['apply', file, '--dry-run', '--json', '--state-dir', stateDirectory]);
    const foreseen = JSON.parse(tried.stdout) as Applied;
    const probe = startProbe(running.ready.gateway, MODELS);
    const ended = await run(['apply', file, '--json', '--state-dir', stateDirectory]);
    expect([ended.code, ended.code === 0 ? '' : ended.stdout]).toEqual([0, '']);
    const { diff } = JSON.parse(ended.stdout) as Applied;
    expect(diff).toEqual(foreseen.diff);
    await until(
      'the node is ready',
      async () => (await viewNode(stateDirectory)).state === 'ready',
      30_000,
    );
    const heard = await probe.stop();
    expect(diff.layouts).toHaveLength(1);
    const stopped = diff.instances.filter(({ downtime }) => downtime).map((each) => each.instance);
    expect(diff.layouts[0]?.stops).toEqual(stopped);
    expect(stopped.length).toBeLessThan(MODELS.length);
    const after = pidsOf(await viewNode(stateDirectory));
    for (const model of MODELS) {
      const instance = `${model}-0`;
      const change = diff.instances.find((each) => each.instance === instance)?.change;
      const kept = after[instance] === before[instance];
      expect([instance, kept]).toEqual([
        instance,
        change === 'keep' && !stopped.includes(instance),
      ]);
      // What is stopped is held, or refused with a time to come back; what is kept or moved serves on.
      const untouched = !stopped.includes(instance);
      const statuses = Object.keys(heard[model]?.statuses ?? {});
      expect([model, statuses.filter((status) => status !== '200')]).toEqual([
        model,
        untouched ? [] : statuses.filter((status) => status === '503'),
      ]);
      expect(heard[model]?.withoutRetryAfter).toBe(0);
    }
    if (process.env['FAULT_TABLE'] !== undefined) {
      const { layouts, instances } = diff;
      process.stderr.write(`sixth model: ${JSON.stringify({ layouts, instances, heard })}\n`);
    }
    expect((await ask(running.ready.gateway, 'sixth')).status).toBe(200);
    expect(await running.stop()).toBe(0);
    other.remove();
  });
});

describe('kill -9 of an engine under load', () => {
  it('the others go on, waiting requests are held, a stream that had begun ends with an error', {
    timeout: 60_000,
  }, async () => {
    const others = MODELS.filter((name) => name !== 'writer');
    const pid = pidsOf(await viewNode(place.stateDirectory))['writer-0'] ?? 0;
    let going = true;
    const statuses: number[] = [];
    const load = others.map(async (model) => {
      while (going) statuses.push((await post(model)).status);
    });
    const stream = await post('writer', { max_tokens: 4000, stream: true, ignore_eos: true });
    const reader = stream.body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = (await reader?.read())?.value ?? '';
    process.kill(pid, 'SIGKILL');
    await until(
      'its death is noticed',
      async () => {
        const view = await viewNode(place.stateDirectory);
        return view.instances.find(({ instance }) => instance === 'writer-0')?.pid !== pid;
      },
      5000,
    );
    const held = await post('writer');
    for (let chunk = await reader?.read(); chunk?.done === false; chunk = await reader?.read()) {
      text += chunk.value;
    }
    going = false;
    await Promise.all(load);
    expect(held.status).toBe(200);
    expect(text).toContain('"error"');
    expect(text).not.toContain('[DONE]');
    expect(statuses.length).toBeGreaterThan(others.length);
    expect(new Set(statuses)).toEqual(new Set([200]));
  });
});

describe('an instance that was drained', () => {
  it('is nobody’s: its requests are held, then 503 with Retry-After', {
    timeout: 60_000,
  }, async () => {
    const drained = await run(['drain', 'guard-0', '--state-dir', place.stateDirectory]);
    expect(drained.code).toBe(0);
    const refused = await post('guard');
    expect(refused.status).toBe(503);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    await run(['drain', 'guard-0', '--undo', '--state-dir', place.stateDirectory]);
    expect((await post('guard')).status).toBe(200);
  });
});
