/**
 * A certificate and its key from two files, read again when they change. Owns the reading, the warning before a
 * certificate ends and the word when it has; a pair that cannot be used leaves the old one in place.
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

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const VALID_TO = /^(\w{3}) +(\d{1,2}) (\d{2}):(\d{2}):(\d{2}) (\d{4}) GMT$/;
const DAY_MS = 24 * 3_600_000;

/**
 * When a certificate ends, in milliseconds since 1970, from what `X509Certificate.validTo` says
 * (`Nov 25 17:38:10 2026 GMT`); null when that is no such date.
 */
export function endOfCertificate(validTo: string): number | null {
  const match = VALID_TO.exec(validTo);
  if (match === null) return null;
  const [, name = '', ...figures] = match;
  const [day = 0, hour = 0, minute = 0, second = 0, year = 0] = figures.map(Number);
  const month = MONTHS.indexOf(name);
  if (month < 0) return null;
  // Years that begin in March have their leap day last: 153 days are five months from there on.
  const marchYear = month < 2 ? year - 1 : year;
  const sinceMarch = Math.floor((153 * ((month + 10) % 12) + 2) / 5) + day - 1;
  const leapDays =
    Math.floor(marchYear / 4) - Math.floor(marchYear / 100) + Math.floor(marchYear / 400);
  const days = marchYear * 365 + leapDays + sinceMarch - DAYS_TO_1970;
  return days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000;
}

/** From the first of March of the year 0 to the first of January 1970. */
const DAYS_TO_1970 = 719_468;

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
  const { certFile } = files;
  let current = options.first;
  let said: 'nothing' | 'ends' | 'ended' = 'nothing';
  let disarm = (): void => undefined;
  const exchange = (): void => {
    try {
      const next = readTlsPair(files);
      if (next.cert.equals(current.cert) && next.key.equals(current.key)) return;
      current = next;
      said = 'nothing';
      onPair(next);
      logger.info('certificate-reloaded', { certFile });
    } catch (error) {
      logger.warn('certificate-unreadable', { message: (error as Error).message });
    }
  };
  /** A certificate that has ended is served on: who connects without looking at the date should not suffer. */
  const sayEnd = (): void => {
    const at = endOfCertificate(new X509Certificate(current.cert).validTo);
    const leftMs = at === null ? Number.POSITIVE_INFINITY : at - clock.epochMs();
    if (leftMs <= 0 && said !== 'ended') {
      said = 'ended';
      logger.error('certificate-ended', { certFile, at });
    } else if (leftMs > 0 && leftMs < WARN_MS && said === 'nothing') {
      said = 'ends';
      logger.warn('certificate-ends', { certFile, at });
    }
  };
  const look = (): void => {
    exchange();
    sayEnd();
    disarm = clock.timer(options.everyMs ?? LOOK_MS, look);
  };
  look();
  return () => disarm();
}
