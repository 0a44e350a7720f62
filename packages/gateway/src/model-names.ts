/**
 * Which model a name means: own names, aliases and adapters of every model in the directory.
 */
import type { EndpointDirectory, ServedModel } from '@aim-gpu/core';

/** The model a client means; null when there is none of that name. */
export function findModel(directory: EndpointDirectory, name: string): ServedModel | null {
  return (
    directory
      .models()
      .find(
        ({ workload, aliases, adapters }) =>
          workload === name || aliases.includes(name) || adapters.includes(name),
      ) ?? null
  );
}

/** OpenAI's list of models: every name that may be asked for. */
export function listModels(
  directory: EndpointDirectory,
  createdSeconds: number,
): readonly ModelEntry[] {
  return directory.models().flatMap((model) =>
    [model.workload, ...model.aliases, ...model.adapters].map((id) => ({
      id,
      object: 'model' as const,
      created: createdSeconds,
      owned_by: 'aim-gpu',
      root: model.workload,
      max_model_len: model.maxModelLen,
    })),
  );
}

/** One entry of the list. */
export interface ModelEntry {
  readonly id: string;
  readonly object: 'model';
  readonly created: number;
  readonly owned_by: string;
  readonly root: string;
  readonly max_model_len: number;
}
