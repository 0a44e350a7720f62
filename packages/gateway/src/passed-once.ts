/**
 * A large body on its way to an engine. undici keeps what it was given until the answer has ended, which for a long
 * prompt and a long stream is much for long: so it is given something that keeps nothing once it has been written.
 */

/** The bytes for undici, to be taken once; their length has to be told in a header. */
export function toPassedOnce(bytes: Buffer): Buffer {
  // undici takes iterables, its types do not know of it.
  return new PassedOnce(bytes) as Iterable<Buffer> as Buffer;
}

class PassedOnce implements Iterable<Buffer> {
  private bytes: Buffer | null;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  *[Symbol.iterator](): Iterator<Buffer> {
    const { bytes } = this;
    this.bytes = null;
    if (bytes !== null) yield bytes;
  }
}
