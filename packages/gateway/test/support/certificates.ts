/**
 * Certificates with their keys for one run, in files: nothing secret is kept, and no program of the machine is needed.
 */
import { createPrivateKey } from 'node:crypto';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generate } from 'selfsigned';

/** A directory with pairs by name and the pair that is served. */
export interface Certificates {
  readonly files: { readonly certFile: string; readonly keyFile: string };
  /** Where a pair's certificate is. */
  certOf(name: string): string;
  /** Makes a pair that ends after so many milliseconds; `passphrase` locks its key. */
  make(name: string, lifeMs: number, options?: { readonly passphrase?: string }): Promise<void>;
  /** Makes a pair the one that is served. */
  install(name: string): void;
  remove(): void;
}

/** Makes an empty directory. */
export function createCertificates(): Certificates {
  const directory = mkdtempSync(path.join(tmpdir(), 'tls-'));
  const at = (name: string): string => path.join(directory, name);
  const files = { certFile: at('served.crt'), keyFile: at('served.key') };
  return {
    files,
    certOf: (name) => at(`${name}.crt`),
    make: async (name, lifeMs, { passphrase } = {}) => {
      const pair = await generate([{ name: 'commonName', value: name }], {
        keyType: 'ec',
        algorithm: 'sha256',
        notAfterDate: new Date(Date.now() + lifeMs),
        // With an address it can be verified by a client that looks at the name as well.
        extensions: [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
      });
      const key =
        passphrase === undefined
          ? pair.private
          : createPrivateKey(pair.private).export({
              type: 'pkcs8',
              format: 'pem',
              cipher: 'aes-256-cbc',
              passphrase,
            });
      writeFileSync(at(`${name}.crt`), pair.cert);
      writeFileSync(at(`${name}.key`), key);
    },
    install: (name) => {
      copyFileSync(at(`${name}.crt`), files.certFile);
      copyFileSync(at(`${name}.key`), files.keyFile);
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
