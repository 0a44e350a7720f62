// A connection's last caller is remembered, and never longer than its key is good.
import type { Tenant } from '@aim-gpu/core';
import { describe, expect, it } from 'vitest';
import { createCallerMemo } from '../src/caller-memo.js';
import { resolveTenants } from '../src/tenants.js';

const tenant = (name: string, variable: string): Tenant => ({
  name: name as Tenant['name'],
  keys: [{ kind: 'env', name: variable }],
  weight: 1,
  bands: ['standard'],
  limits: {
    requestsPerMinute: null,
    inputTokensPerMinute: null,
    outputTokensPerMinute: null,
    concurrent: null,
  },
});

describe('callers of a connection', () => {
  const env = { A: 'sk-a', B: 'sk-b' };

  it('are found again, and change with the header', async () => {
    const memo = createCallerMemo(
      await resolveTenants([tenant('a', 'A'), tenant('b', 'B')], { env }),
    );
    const socket = {};
    const first = memo.find(socket, 'Bearer sk-a');
    expect(first?.name).toBe('a');
    expect(memo.find(socket, 'Bearer sk-a')).toBe(first);
    expect(memo.find(socket, 'Bearer sk-b')?.name).toBe('b');
    expect(memo.find(socket, 'Bearer sk-x')).toBeNull();
    expect(memo.find(socket, undefined)).toBeNull();
    expect(memo.find({}, 'Bearer sk-a')?.name).toBe('a');
  });

  it('are forgotten with their keys', async () => {
    let current = await resolveTenants([tenant('a', 'A')], { env });
    const memo = createCallerMemo({
      get keys() {
        return current.keys;
      },
      get anonymous() {
        return current.anonymous;
      },
    });
    const socket = {};
    expect(memo.find(socket, 'Bearer sk-a')?.name).toBe('a');
    current = await resolveTenants([tenant('b', 'B')], { env });
    expect(memo.find(socket, 'Bearer sk-a')).toBeNull();
    expect(memo.find(socket, 'Bearer sk-b')?.name).toBe('b');
  });

  it('need no key where nobody has one', async () => {
    const memo = createCallerMemo(await resolveTenants([]));
    expect(memo.find({}, undefined)?.name).toBe('anonymous');
    expect(memo.find({}, 'Bearer anything')?.name).toBe('anonymous');
  });
});
