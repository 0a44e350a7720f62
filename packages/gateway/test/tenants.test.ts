/** Where keys come from, and who has which. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { tenantName } from '@aim-gpu/core';
import { aTenant } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bearerKey, createKeyRing, digestKey } from '../src/key-ring.js';
import { identify, resolveTenants } from '../src/tenants.js';
import { aServedModel } from './support/gateway-bench.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'keys-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('resolveTenants', () => {
  it('reads keys from the environment, a file and a digest, and keeps digests alone', async () => {
    const file = path.join(directory, 'key');
    writeFileSync(file, 'from-file\n');
    const tenants = [
      aTenant({ name: tenantName('env'), keys: [{ kind: 'env', name: 'KEY' }] }),
      aTenant({ name: tenantName('file'), keys: [{ kind: 'file', path: file }] }),
      aTenant({
        name: tenantName('sha'),
        keys: [{ kind: 'sha256', digest: `sha256:${digestKey('from-digest').toUpperCase()}` }],
      }),
    ];
    const resolved = await resolveTenants(tenants, { env: { KEY: 'from-env' } });
    const who = (key: string) => identify(resolved, `Bearer ${key}`)?.name;
    expect(['from-env', 'from-file', 'from-digest', 'nobody'].map(who)).toEqual([
      'env',
      'file',
      'sha',
      undefined,
    ]);
    expect(resolved.keys.size).toBe(3);
    expect(JSON.stringify(resolved)).not.toContain('from-');
  });

  it.each([
    ['an unset variable', { kind: 'env', name: 'NOT_SET' }, 'NOT_SET'],
    ['an empty variable', { kind: 'env', name: 'EMPTY' }, 'EMPTY'],
    ['a missing file', { kind: 'file', path: '/nonexistent/key' }, '/nonexistent/key'],
    ['no digest', { kind: 'sha256', digest: 'abc' }, '64 hex digits'],
  ] as const)('refuses %s and names it with the tenant', async (_, key, part) => {
    const failure = resolveTenants([aTenant({ keys: [key] })], { env: { EMPTY: ' ' } });
    await expect(failure).rejects.toMatchObject({ code: 'ERR_KEY_MISSING', kind: 'invalid' });
    await expect(failure).rejects.toThrow(part);
    await expect(failure).rejects.toThrow('tenant acme');
  });

  it('refuses an empty file', async () => {
    const file = path.join(directory, 'empty');
    writeFileSync(file, '\n');
    await expect(
      resolveTenants([aTenant({ keys: [{ kind: 'file', path: file }] })], { env: {} }),
    ).rejects.toMatchObject({ code: 'ERR_KEY_MISSING' });
  });
});

describe('identify', () => {
  it('without tenants everybody is anonymous, without limits and with standard and below', async () => {
    const caller = identify(await resolveTenants([], { env: {} }), undefined);
    expect(caller).toMatchObject({
      name: 'anonymous',
      bands: ['standard', 'batch', 'best_effort'],
    });
    expect(caller?.accounts(aServedModel('chat'))).toEqual([]);
  });

  it.each([undefined, '', 'Basic abc', 'Bearer', 'Bearer a b', 'key'])(
    'nobody for the header %j',
    async (header) => {
      const tenant = aTenant({ keys: [{ kind: 'env', name: 'K' }] });
      expect(identify(await resolveTenants([tenant], { env: { K: 'key' } }), header)).toBeNull();
    },
  );

  it.each([
    ['Bearer k', 'k'],
    ['bearer   k ', 'k'],
  ])('reads %j', (header, key) => {
    expect(bearerKey(header)).toBe(key);
  });

  it('gives a key of two tenants to the first', () => {
    const [first, second] = [
      aTenant({ name: tenantName('a') }),
      aTenant({ name: tenantName('b') }),
    ];
    const digest = digestKey('k');
    const ring = createKeyRing([
      { tenant: first, digest },
      { tenant: second, digest },
    ]);
    expect(ring.find('k')?.name).toBe('a');
  });
});
