/**
 * Takes secrets out of what people send to strangers. Pure. Better one word too many than one too few: what looks like
 * a key goes.
 */

/** Names whose values never leave the host. */
const SECRET_NAME = /(key|token|secret|password|credential|authorization|cookie)s?$/i;
/** Counters and sizes that only sound like secrets. */
const INNOCENT_NAME = /(tokens?(PerSecond|Total)?|maxTokens|kvBytesPerToken|bytesPerToken)$/;
const IN_TEXT: readonly RegExp[] = [
  /\b(bearer\s+)\S+/gi,
  /\b((?:api[-_]?key|token|secret|password|hf_token)\s*[=:]\s*)\S+/gi,
  /((?:--[\w-]*(?:key|token|secret|password)[\w-]*)[= ])\S+/gi,
];
const KEY_SHAPES = /\b(?:sk-[\w-]{8,}|hf_\w{8,}|ghp_\w{8,}|xox[abp]-[\w-]{8,})/g;

const HIDDEN = '[redacted]';

/** The same text without what looks like a secret. */
function redactText(text: string): string {
  const named = IN_TEXT.reduce((rest, pattern) => rest.replace(pattern, `$1${HIDDEN}`), text);
  return named.replace(KEY_SHAPES, HIDDEN);
}

/** The same JSON value without what looks like a secret. */
export function redact(value: unknown): unknown {
  if (typeof value === 'string') return redactText(value);
  if (Array.isArray(value)) return value.map(redact);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => {
      const secret = SECRET_NAME.test(name) && !INNOCENT_NAME.test(name);
      return [name, secret && inner !== null ? HIDDEN : redact(inner)];
    }),
  );
}
