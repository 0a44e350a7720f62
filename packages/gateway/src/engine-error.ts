/**
 * Errors of engines in the one shape that OpenAI's clients read. Engines have several: OpenAI's own, vLLM's older one
 * with its words beside the code, FastAPI's `detail`, a page of HTML. Owns what of those a client is told; answers in
 * OpenAI's shape pass as they are.
 */
import { engineSaidNo, type OpenAiError } from './openai-error.js';
import { parseObject } from './reported-usage.js';

/** Longer ones are no messages for people. */
const MOST_MESSAGE_CHARACTERS = 2_000;

/** The error as a client is told it, of an answer with a status of 400 or more; null where it has OpenAI's shape. */
export function toClientError(status: number, body: Buffer): OpenAiError | null {
  const said = parseObject(body.toString('utf8'));
  if (said === null) return engineSaidNo(status, null, null);
  const { error, param } = said;
  if (typeof error === 'object' && error !== null && !Array.isArray(error)) return null;
  const message = [error, said['message'], detailOf(said['detail'])].find(isMessage) ?? null;
  return engineSaidNo(status, message, typeof param === 'string' ? param : null);
}

/** FastAPI says one sentence, or what is wrong with each field; the value itself, which it repeats, is not told. */
function detailOf(detail: unknown): unknown {
  if (!Array.isArray(detail)) return detail;
  const [first] = detail as readonly unknown[];
  if (typeof first !== 'object' || first === null) return null;
  const { loc, msg } = first as { readonly loc?: unknown; readonly msg?: unknown };
  if (!isMessage(msg)) return null;
  const place = Array.isArray(loc) ? loc.filter((each) => each !== 'body').join('.') : '';
  return place === '' ? msg : `${place}: ${msg}`;
}

function isMessage(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MOST_MESSAGE_CHARACTERS;
}
