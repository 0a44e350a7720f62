/**
 * The shell lines of the guide to the gateway against a running `up`: a line that no longer holds fails. The same gateway
 * takes other limits and bounds from a fleet file that is applied.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPlace, type Place, run } from './support/command.js';
import { viewNode } from './support/node-view.js';
import { type Running, startAgent, startUp, until } from './support/running.js';

const GUIDE = path.resolve(import.meta.dirname, '../../../docs/guide/gateway.md');
const ENV = { AIM_GPU_ADMIN_TOKEN: 'an-admin-token', TEAM_A_KEY: 'sk-of-team-a' };
/** Of the tenant's second key, which the guide takes out of use. */
const OLD_KEY_SHA256 = createHash('sha256').update('sk-that-leaves').digest('hex');

const fleet = (limits = '', gateway = ''): string => `apiVersion: aim-gpu/v1alpha1
kind: Fleet
metadata: { name: guided }
nodes:
  - { name: node-a, driver: simulated, cards: { product: MI300X, count: 1 } }
models:
  - { name: assistant, aliases: [gpt], source: meta-llama/Llama-3.2-1B-Instruct, concurrency: 4, maxModelLen: 2048, limits: { ${limits} } }
tenants:
  - { name: team-a, keys: [{ env: TEAM_A_KEY }, { sha256: "${OLD_KEY_SHA256}" }] }
policy:
  gateway: { ${gateway} }
`;

let place: Place;
let up: Running;
beforeAll(async () => {
  place = createPlace();
  // Whoever has a .curlrc has it left out, and what is refused fails here.
  place.write('.curlrc', 'fail-with-body\nshow-error\nmax-time = 10\n');
  const file = place.write('fleet.yaml', fleet());
  up = await startUp(file, place.stateDirectory, [], ENV);
}, 60_000);
afterAll(async () => {
  expect(await up.stop()).toBe(0);
  place.remove();
}, 30_000);

/** What stands in the guide and is another here: addresses, and the id of a key that there is. */
function asHere(script: string): string {
  return script
    .replaceAll('http://127.0.0.1:8080', up.ready.gateway)
    .replaceAll('http://127.0.0.1:8081', up.ready.admin)
    .replaceAll('0123456789ab', OLD_KEY_SHA256.slice(0, 12));
}

/** The lines that are typed, in order. */
function shellBlocks(markdown: string): readonly string[] {
  return [...markdown.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = '']) => block);
}

/** Runs them in one shell, which ends at the first that fails and says which. */
function shell(script: string): Promise<{ code: number; stdout: string; stderr: string }> {
  const env = { ...process.env, ...ENV, CURL_HOME: place.directory };
  return new Promise((resolve) => {
    execFile('sh', ['-exc', script], { env, timeout: 15_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}

describe('the guide to the gateway', () => {
  it('has shell lines that all do what they say', async () => {
    const blocks = shellBlocks(readFileSync(GUIDE, 'utf8'));
    expect(blocks.length).toBeGreaterThanOrEqual(3);
    const script = asHere(blocks.join('\n'));
    // Nothing is left that would reach somebody else.
    expect(script.match(/127\.0\.0\.1:(8080|8081)\b/)).toBeNull();
    const { code, stdout, stderr } = await shell(script);
    expect(code, `${stderr}\n${stdout}`).toBe(0);
    expect(stdout).toContain('data: [DONE]');
    expect(stdout).toMatch(/"key":"sk-aim-/);
    expect(stdout).toContain('"requestsPerMinute":1200');
    expect(stdout).toContain('aim_gpu_requests_total');
    const gone = await fetch(`${up.ready.gateway}/v1/models`, {
      headers: { authorization: 'Bearer sk-that-leaves' },
    });
    expect(gone.status).toBe(401);
  });

  it('is run such that the first stale line ends it', async () => {
    const [, keys = ''] = shellBlocks(readFileSync(GUIDE, 'utf8'));
    const stale = keys.replace('admin /v1/limits ', 'admin /v1/limit ');
    expect(stale).not.toBe(keys);
    const { code, stdout, stderr } = await shell(asHere(stale));
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/\/v1\/limit\n.*404/s);
    expect(stdout).toContain('ERR_ROUTE_UNKNOWN');
    expect(stdout).not.toContain('"key"');
  });
});

async function isReady(stateDirectory: string): Promise<boolean> {
  return (await viewNode(stateDirectory).catch(() => null))?.state === 'ready';
}

describe('another fleet that is applied', () => {
  const ask = async (more: object = {}): Promise<readonly [status: number, text: string]> => {
    const response = await fetch(`${up.ready.gateway}/v1/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ENV.TEAM_A_KEY}` },
      body: JSON.stringify({ model: 'assistant', prompt: 'hello', max_tokens: 2, ...more }),
    });
    return [response.status, await response.text()];
  };
  const apply = async (text: string): Promise<readonly object[]> => {
    const file = place.write('next.yaml', text);
    const ended = await run(['apply', file, '--json', '--state-dir', place.stateDirectory], {
      env: ENV,
    });
    expect(ended.code, ended.stderr).toBe(0);
    const { diff } = JSON.parse(ended.stdout) as {
      diff: { instances: { change: string }[]; settings: object[] };
    };
    expect(diff.instances.map(({ change }) => change)).toEqual(['keep']);
    return diff.settings;
  };

  it('brings its limits of models and its bounds of the gateway, and no engine is touched', async () => {
    expect((await ask())[0]).toBe(200);
    const settings = await apply(fleet('requestsPerMinute: 1', 'maxBody: 4KiB'));
    expect(settings).toEqual([
      { subject: 'model assistant', change: 'change', keys: ['limits'] },
      { subject: 'gateway', change: 'change', keys: ['maxBody'] },
    ]);
    expect((await ask({ prompt: 'x'.repeat(5000) }))[0]).toBe(413);
    expect((await ask({ model: 'gpt' }))[0]).toBe(200);
    const [status, text] = await ask();
    expect(status).toBe(429);
    expect(text).toContain('The limit of requests a minute of model assistant');
    await apply(fleet());
    expect((await ask({ prompt: 'x'.repeat(5000) }))[0]).toBe(200);
  });

  it('is kept to by the next agent, which is told no file', { timeout: 60_000 }, async () => {
    const other = createPlace();
    const { stateDirectory } = other;
    const anonymous = fleet('requestsPerMinute: 1', 'maxBody: 4KiB').replace(
      /tenants:.*?(?=policy)/s,
      '',
    );
    const first = await startAgent(other.write('fleet.yaml', anonymous), stateDirectory);
    await until('its fleet is brought about', () => isReady(stateDirectory), 30_000);
    first.signal('SIGKILL');
    await first.exited;
    const second = await startAgent(null, stateDirectory);
    try {
      const large = await fetch(`${second.ready.gateway}/v1/completions`, {
        method: 'POST',
        body: JSON.stringify({ model: 'assistant', prompt: 'x'.repeat(5000) }),
      });
      expect(large.status).toBe(413);
      const limits = await fetch(`${second.ready.admin}/v1/limits`);
      expect(await limits.json()).toMatchObject({
        models: [{ model: 'assistant', limits: { requestsPerMinute: 1 } }],
      });
    } finally {
      await run(['down', '--state-dir', stateDirectory]);
      await second.exited;
      other.remove();
    }
  });
});
