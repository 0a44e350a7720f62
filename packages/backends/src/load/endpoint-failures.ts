/**
 * What a broken endpoint means to whoever measures it: one coded error each. Owns codes and words only.
 */
import { AimError } from '@aim-gpu/core';
import type { RequestFailure } from './drive-load.js';

/** The error of a failed request. */
export function failureOf(url: string, failure: RequestFailure, cause?: unknown): AimError {
  const { status, why, message } = failure;
  const said = message.trim().replaceAll(/\s+/g, ' ').slice(0, 300);
  const common = { details: { url, status }, ...(cause === undefined ? {} : { cause }) };
  if (why === 'timeout') {
    return new AimError({
      ...common,
      code: 'ERR_ENDPOINT_TIMEOUT',
      kind: 'timeout',
      message: `${url} took too long: ${said}`,
      hint: 'give it longer with a larger request limit, or measure smaller settings',
    });
  }
  if (why === 'broken') {
    return new AimError({
      ...common,
      code: 'ERR_ENDPOINT_UNREACHABLE',
      kind: 'unavailable',
      message: `${url} cannot be talked to: ${said}`,
      hint: 'is the server running there, and does it speak the OpenAI protocol?',
    });
  }
  return new AimError({
    ...common,
    code: 'ERR_ENDPOINT_REFUSED',
    kind: 'unavailable',
    message: status === null ? `${url}: ${said}` : `${url} answered ${status}: ${said}`,
    hint: 'check the model name, the key and the lengths that the server accepts',
  });
}

/** The error of a sweep that was not done in time. */
export function outOfTime(url: string, budgetMs: number): AimError {
  return new AimError({
    code: 'ERR_ENDPOINT_TIMEOUT',
    kind: 'timeout',
    message: `measuring ${url} was not done within ${budgetMs} ms`,
    hint: 'measure fewer or smaller settings, or give it longer',
    details: { url, budgetMs },
  });
}

/** The error of answers too short for a pace. */
export function shortAnswers(url: string): AimError {
  return new AimError({
    code: 'ERR_ENDPOINT_SHORT_ANSWERS',
    kind: 'refused',
    message: `${url} ends its answers after a single text, so there is no time between tokens to measure`,
    hint: 'ask for more tokens, and let the server honour ignore_eos',
    details: { url },
  });
}

/** The error of streams without usage. */
export function noUsage(url: string): AimError {
  return new AimError({
    code: 'ERR_ENDPOINT_NO_USAGE',
    kind: 'refused',
    message: `${url} streams answers without saying how many tokens they have`,
    hint: 'let it honour stream_options.include_usage; without usage neither lengths nor pace are known',
    details: { url },
  });
}
