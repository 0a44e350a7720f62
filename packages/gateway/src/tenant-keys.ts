/**
 * Where tenants' keys come from: the environment, a file, or a digest written in the fleet file. The only place that
 * ever sees a key in the clear, and it keeps the digest alone.
 */
import { readFileSync } from 'node:fs';
import { AimError, type KeySource, type Tenant } from '@aim-gpu/core';
import { digestKey, type KeyDigest } from './key-ring.js';

/** Where to look; both default to the process's own. */
export interface KeyOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Reads a key file; throws when it cannot. */
  readonly readFile?: (path: string) => string;
}

const DIGEST = /^(?:sha256:)?([0-9a-f]{64})$/i;

function missing(tenant: Tenant, message: string, hint: string, cause?: unknown): AimError {
  return new AimError({
    code: 'ERR_KEY_MISSING',
    kind: 'invalid',
    message: `${message} (a key of tenant ${tenant.name})`,
    hint,
    details: { tenant: tenant.name },
    cause,
  });
}

function digestOf(tenant: Tenant, source: KeySource, options: Required<KeyOptions>): string {
  if (source.kind === 'sha256') {
    const match = DIGEST.exec(source.digest);
    if (match?.[1] !== undefined) return match[1].toLowerCase();
    throw missing(
      tenant,
      'a sha256 key is not 64 hex digits',
      'print one with: printf %s "$KEY" | sha256sum | cut -d\' \' -f1',
    );
  }
  if (source.kind === 'env') {
    const key = options.env[source.name]?.trim();
    if (key) return digestKey(key);
    throw missing(
      tenant,
      `environment variable ${source.name} is not set`,
      `export ${source.name} before starting, or name the key by file or sha256`,
    );
  }
  let text: string;
  try {
    text = options.readFile(source.path);
  } catch (cause) {
    throw missing(
      tenant,
      `key file ${source.path} cannot be read`,
      'create the file with the key alone in it, readable by this user only',
      cause,
    );
  }
  const key = text.trim();
  if (key === '') {
    throw missing(tenant, `key file ${source.path} is empty`, 'put the key alone into the file');
  }
  return digestKey(key);
}

/**
 * Reads every key of every tenant and keeps their digests. Throws `ERR_KEY_MISSING` (invalid) for a variable that is
 * not set, a file that cannot be read or is empty, and a digest that is not one.
 */
export function readTenantKeys(
  tenants: readonly Tenant[],
  options: KeyOptions = {},
): readonly KeyDigest[] {
  const sources: Required<KeyOptions> = {
    env: options.env ?? process.env,
    readFile: options.readFile ?? ((path) => readFileSync(path, 'utf8')),
  };
  return tenants.flatMap((tenant) =>
    tenant.keys.map((source) => ({ tenant, digest: digestOf(tenant, source, sources) })),
  );
}
