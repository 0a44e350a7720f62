/**
 * A certificate and its key from two files, read again when they change. Owns the reading and the warning before a
 * certificate ends; a pair that cannot be used leaves the old one in place.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { AimError, type Clock, type Logger } from '@aim-gpu/core';

/** Where certificate chain and key are, as PEM. */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** A pair that was read. */
export interface TlsPair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

const LOOK_MS = 10_000;
const WARN_MS = 7 * 24 * 3_600_000;

/** Reads the pair. Throws `ERR_TLS_INVALID` (invalid) when a file cannot be read or the two do not belong together. */
export function readTlsPair({ certFile, keyFile }: TlsFiles): TlsPair {
  try {
    const pair = { cert: readFileSync(certFile), key: readFileSync(keyFile) };
    createSecureContext(pair);
    return pair;
  } catch (cause) {
    throw new AimError({
      code: 'ERR_TLS_INVALID',
      kind: 'invalid',
      message: `${certFile} and ${keyFile} are no certificate with its key`,
      hint: 'give PEM files: the chain with the server’s certificate first, and its key without a passphrase',
      details: { certFile, keyFile },
      cause,
    });
  }
}

/** Looks at the files now and then and hands over a new pair; connections under way keep theirs. Returns the end. */
export function watchTlsPair(options: {
  readonly files: TlsFiles;
  readonly first: TlsPair;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onPair: (pair: TlsPair) => void;
  /** Milliseconds between looks; 10 s unless given. */
  readonly everyMs?: number;
}): () => void {
  const { files, clock, logger, onPair } = options;
  let current = options.first;
  let warned = false;
  let disarm = (): void => undefined;
  const look = (): void => {
    try {
      const next = readTlsPair(files);
      if (!next.cert.equals(current.cert) || !next.key.equals(current.key)) {
        current = next;
        warned = false;
        onPair(next);
        logger.info('certificate-reloaded', { certFile: files.certFile });
      }
    } catch (error) {
      logger.warn('certificate-unreadable', { message: (error as Error).message });
    }
    // biome-ignore lint/style/noRestrictedGlobals: reads a date that is written in the certificate, not the time
    const endsMs = Date.parse(new X509Certificate(current.cert).validTo);
    if (!warned && endsMs - clock.epochMs() < WARN_MS) {
      warned = true;
      logger.warn('certificate-ends', { certFile: files.certFile, at: endsMs });
    }
    disarm = clock.timer(options.everyMs ?? LOOK_MS, look);
  };
  look();
  return () => disarm();
}
