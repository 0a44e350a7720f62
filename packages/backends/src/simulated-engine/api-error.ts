/**
 * Errors of the OpenAI-compatible face in vLLM's shape. Owns wording and status; thrown nowhere, returned as values.
 */

/** An error answer. */
export interface ApiError {
  readonly status: number;
  readonly type: string;
  readonly message: string;
  readonly param: string | null;
}

/** The body vLLM sends for an error. */
export function toErrorBody(error: ApiError): unknown {
  const { message, type, param, status } = error;
  return { error: { message, type, param, code: status } };
}

/** A request that makes no sense. */
export function badRequest(message: string, param: string | null = null): ApiError {
  return { status: 400, type: 'BadRequestError', message, param };
}

/** A model that this engine does not serve. */
export function unknownModel(name: string): ApiError {
  return {
    status: 404,
    type: 'NotFoundError',
    message: `The model \`${name}\` does not exist.`,
    param: 'model',
  };
}

/** A prompt, or a prompt with the answer asked for, that is longer than the model takes. */
export function tooLong(options: {
  readonly limit: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
}): ApiError {
  const { limit, promptTokens, outputTokens } = options;
  return badRequest(
    `This model's maximum context length is ${limit} tokens. However, you requested ${outputTokens} output tokens and your prompt contains at least ${promptTokens} input tokens, for a total of at least ${promptTokens + outputTokens} tokens. Please reduce the length of the input prompt or the number of requested output tokens.`,
    'input_tokens',
  );
}
