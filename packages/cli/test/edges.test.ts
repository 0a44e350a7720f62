/**
 * The small parts around commands: addresses, nodes, closers, status text, reports, errors.
 */
import type { StatusDocument } from '@aim-gpu/agent';
import { AimError, type EpochMs, type InstanceId, nodeName } from '@aim-gpu/core';
import { aFleet, aPlan } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createClosers } from '../src/closers.js';
import { statusToText } from '../src/commands/status.js';
import { createContext } from '../src/context.js';
import { chooseNode } from '../src/fleet-input.js';
import { parseListenAddress } from '../src/listen-address.js';
import { reportError } from '../src/report-error.js';
import { createUpReport } from '../src/up-report.js';
import { createFakeIo, type FakeIo } from './support/fake-io.js';

let io: FakeIo;
beforeEach(() => {
  io = createFakeIo();
});
afterEach(() => io.remove());

describe('parseListenAddress', () => {
  it.each([
    ['127.0.0.1:8080', { host: '127.0.0.1', port: 8080 }],
    ['[::1]:0', { host: '::1', port: 0 }],
    [':9000', { host: '127.0.0.1', port: 9000 }],
  ])('%s', (text, want) => {
    expect(parseListenAddress(text, '--listen')).toEqual(want);
  });

  it.each(['', 'localhost', 'a:b', '1.2.3.4:70000', '::1:80'])('refuses %j', (text) => {
    expect(() => parseListenAddress(text, '--listen')).toThrowError(/--listen must be host:port/);
  });
});

describe('chooseNode', () => {
  const [only] = aFleet().nodes;
  if (only === undefined) throw new Error('the fleet of the builders has a node');
  const two = aFleet({ nodes: [only, { ...only, name: nodeName('node1') }] });

  it('takes the only node, the named one, or the one named like the host', () => {
    expect(chooseNode(aFleet(), { hostName: 'elsewhere' }).name).toBe('node0');
    expect(chooseNode(two, { hostName: 'elsewhere', name: 'node1' }).name).toBe('node1');
    expect(chooseNode(two, { hostName: 'node1' }).name).toBe('node1');
  });

  it('names the nodes there are when none is meant', () => {
    expect(() => chooseNode(two, { hostName: 'elsewhere' })).toThrowError(/named like this host/);
    expect(() => chooseNode(aFleet(), { hostName: 'x', name: 'node9' })).toThrowError(
      /no node node9/,
    );
  });
});

describe('state directory', () => {
  it.each([
    [{ XDG_STATE_HOME: '/x' }, undefined, '/x/aim-gpu'],
    [{ XDG_STATE_HOME: '' }, undefined, '.local/state/aim-gpu'],
    [{ XDG_STATE_HOME: '/x' }, 'here', 'here'],
  ])('%j with --state-dir %s', (env, stateDir, want) => {
    const other = createFakeIo(env);
    const context = createContext(other, stateDir === undefined ? {} : { stateDir });
    expect(context.stateDirectory.endsWith(want)).toBe(true);
    other.remove();
  });
});

describe('closers', () => {
  it('close in reverse order, go on after a failure, and throw the first one', async () => {
    const order: string[] = [];
    const closers = createClosers();
    closers.add(() => void order.push('first'));
    closers.add(() => {
      order.push('second');
      throw new Error('second failed');
    });
    closers.add(async () => void order.push('third'));
    await expect(closers.closeAll()).rejects.toThrowError('second failed');
    expect(order).toEqual(['third', 'second', 'first']);
    await expect(closers.closeAll()).resolves.toBeUndefined();
  });
});

describe('errors', () => {
  const error = new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message: 'unknown key',
    hint: 'did you mean name?',
    at: { file: 'fleet.yaml', line: 3, column: 5 },
    excerpt: '3 |     nme: a\n        ^^^',
    cause: new Error('underneath'),
  });

  it('show message, place, excerpt and hint', () => {
    expect(reportError(error, { io, json: false, debug: false })).toBe(2);
    expect(io.error()).toBe(
      'error: unknown key\n  at fleet.yaml:3:5\n3 |     nme: a\n        ^^^\nhint: did you mean name?\n',
    );
  });

  it('are one JSON document with --json', () => {
    expect(reportError(error, { io, json: true, debug: false })).toBe(2);
    expect(JSON.parse(io.out())).toMatchObject({
      error: { code: 'ERR_CONFIG_INVALID', at: { line: 3 } },
    });
    expect(io.error()).toBe('');
  });

  it('show stack and causes with --debug', () => {
    reportError(error, { io, json: false, debug: true });
    expect(io.error()).toContain('caused by Error: underneath');
  });

  it('that nobody expected are internal: exit 70', () => {
    expect(reportError(new Error('boom'), { io, json: true, debug: false })).toBe(70);
  });
});

function aStatus(overrides: Partial<StatusDocument> = {}): StatusDocument {
  const placement = aPlan().placements[0];
  if (placement === undefined) throw new Error('the plan of the builders has a placement');
  return {
    apiVersion: 'aim-gpu/v1alpha1',
    kind: 'Status',
    node: nodeName('node0'),
    driver: 'simulated',
    fleet: 'test',
    state: 'degraded',
    since: 1000 as EpochMs,
    pid: 1,
    plan: 'p',
    gateway: { url: 'http://127.0.0.1:8080', adminUrl: 'http://127.0.0.1:8081' },
    cards: [],
    instances: [
      {
        instance: 'chat-0' as InstanceId,
        workload: placement.workload,
        band: 'best_effort',
        engine: 'simulated',
        state: 'restarting',
        since: 1000 as EpochMs,
        pid: null,
        endpoint: null,
        shares: placement.shares,
        predicted: placement.predicted,
        isolation: [],
        restarts: 3,
        draining: false,
        trouble: { message: 'engine exited with code 1', hint: 'read its log' },
      },
    ],
    unplaced: [],
    degradations: [],
    problems: [],
    warnings: [],
    ...overrides,
  };
}

describe('status', () => {
  it('fits 80 columns and tells what is wrong with a hint', () => {
    const text = statusToText(aStatus(), 61_000);
    expect(text).toContain('degraded for 1 min 0 s');
    expect(text).toContain('chat-0: engine exited with code 1\n  hint: read its log');
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
  });
});

describe('the report of up', () => {
  const facts = {
    node: 'node0',
    gateway: 'http://h:1',
    admin: 'http://h:2',
    socket: '/s',
    places: { chat: 'c/0' },
  };

  function report(options: { readonly json: boolean }): void {
    const made = createUpReport(createContext(io, options));
    made.planned(aPlan());
    made.layout({ phase: 'changing', text: 'card c: compute mode QPX', remainingMs: 3000 });
    const [instance] = aStatus().instances;
    if (instance !== undefined) made.instance(instance);
    made.ready(facts);
    made.stopping('SIGINT');
    made.stopped();
  }

  it('is one JSON object a line', () => {
    report({ json: true });
    const lines = io
      .out()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { event: string });
    expect(lines.map(({ event }) => event)).toEqual([
      'planned',
      'layout',
      'instance',
      'ready',
      'stopping',
      'stopped',
    ]);
    expect(lines[3]).toMatchObject(facts);
    expect(io.error()).toBe('');
  });

  it('is sentences for people, trouble on stderr', () => {
    report({ json: false });
    expect(io.out()).toMatch(/card c: compute mode QPX, about 3\.0 s left/);
    expect(io.out()).toContain('gateway  http://h:1/v1');
    expect(io.error()).toContain('hint: read its log');
  });
});
