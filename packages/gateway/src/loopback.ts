/**
 * What counts as this machine, by address and by the names that browsers and tools call it. Owns those names. Whoever is
 * let in for being here must be checked by them: a page of anybody's reaches loopback through the browser of somebody
 * who is here, and a name of anybody's may lead here.
 */

const ADDRESS = /^(?:127\.\d+\.\d+\.\d+|::1|localhost)$/;
const NAME = /^(?:127\.\d+\.\d+\.\d+|\[::1\]|(?:[a-z0-9-]+\.)*localhost)\.?(?::\d+)?$/i;
const ORIGIN = /^https?:\/\/(.+)$/i;

/** Whether only this machine reaches what listens at an address. */
export function isLoopbackAddress(host: string): boolean {
  return ADDRESS.test(host);
}

/** Whether a `host` header names this machine. */
export function isLoopbackHost(host: string | undefined): boolean {
  return host !== undefined && NAME.test(host);
}

/** Whether an `origin` header is of a page that this machine served. */
export function isLoopbackOrigin(origin: string): boolean {
  return isLoopbackHost(ORIGIN.exec(origin)?.[1]);
}
