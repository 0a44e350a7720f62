/**
 * Last words of engines that mean something known, with one fix each. Owns the matching and what all engines share
 * (Python, the ROCm runtime, sockets); messages of one engine live with it.
 */

/** A failure as it reads in the output. Named groups of the pattern fill `{name}` in both texts. */
export interface KnownFailure {
  readonly pattern: RegExp;
  readonly message: string;
  readonly hint: string;
}

/** What an engine's end means. */
export interface ExitExplanation {
  readonly message: string;
  readonly hint: string;
}

/**
 * Failures of any engine on ROCm. Sources: PyTorch's OutOfMemoryError and device messages; CPython's OSError texts;
 * the Hugging Face hub's own errors; glibc's loader.
 */
export const COMMON_FAILURES: readonly KnownFailure[] = [
  {
    pattern: /(?:HIP|CUDA) out of memory\. Tried to allocate (?<size>[\d.]+ [KMG]iB)/,
    message: 'the GPU ran out of memory: {size} more could not be allocated',
    hint: 'something on the partition took more than its share; raise placement.minShare or lower concurrency or maxModelLen',
  },
  {
    pattern:
      /OutOfMemoryError|hipErrorOutOfMemory|failed to allocate .*buffer|hipMalloc.*out of memory/,
    message: 'the GPU ran out of memory',
    hint: 'raise placement.minShare, or lower concurrency or maxModelLen',
  },
  {
    pattern: /No (?:HIP|CUDA) GPUs are available|no ROCm-capable device is detected/,
    message: 'the engine sees no GPU',
    hint: 'its visible devices name a partition that is not there (any more), or it may not open /dev/kfd and its render node',
  },
  {
    pattern: /Unable to open \/dev\/kfd read-write: (?<why>.+)/,
    message: 'the engine may not use the GPU: /dev/kfd: {why}',
    hint: 'run it as a member of the groups render and video',
  },
  {
    pattern:
      /HSA_STATUS_ERROR_OUT_OF_RESOURCES|HSA_STATUS_ERROR_EXCEPTION|Memory access fault by GPU node-(?<node>\d+)/,
    message: 'the GPU runtime gave up on this process',
    hint: 'look into dmesg for amdgpu errors; a partition may need a reset',
  },
  {
    pattern:
      /\[Errno 98\]|[Aa]ddress already in use|EADDRINUSE|couldn't bind (?:HTTP server )?socket/,
    message: 'the port of the engine is in use',
    hint: 'end the process that listens on it, or start again: a free port is chosen each time',
  },
  {
    pattern: /gated repo|Access to model (?<model>\S+) is restricted|401 Client Error/,
    message: 'the model may only be downloaded with permission',
    hint: 'accept its licence on the hub and set HF_TOKEN for the process that launches the engine, or point source at a local directory',
  },
  {
    pattern:
      /RepositoryNotFoundError|is not a local folder and is not a valid model identifier|Can't load the configuration of|LocalEntryNotFoundError|does not appear to have a file named config\.json/,
    message: 'the model was not found',
    hint: 'check source, or point it at a directory that holds the model',
  },
  {
    pattern: /No space left on device/,
    message: 'the disk is full',
    hint: 'free space where models and caches are kept (HF_HOME)',
  },
  {
    pattern: /ModuleNotFoundError: No module named '?(?<module>[\w.]+)/,
    message: 'the engine is not installed completely: Python module {module} is missing',
    hint: 'install the engine again, or activate its environment before launching',
  },
  {
    pattern: /(?<program>\S+): error: unrecognized arguments: (?<flags>.+)/,
    message: 'this version of the engine does not know {flags}',
    hint: 'check engine.version and engine.args in the fleet file',
  },
  {
    pattern: /error: argument (?<flag>\S+): (?<why>.+)/,
    message: 'the engine refuses {flag}: {why}',
    hint: 'check engine.args in the fleet file',
  },
];

/** Explains the end of an engine by the first failure of the list that its last output shows; null when none does. */
export function explainByOutput(
  lastOutput: readonly string[],
  failures: readonly KnownFailure[],
): ExitExplanation | null {
  const text = lastOutput.join('\n');
  for (const failure of failures) {
    const match = failure.pattern.exec(text);
    if (match !== null) {
      const fill = (template: string): string =>
        template.replaceAll(/\{(\w+)\}/g, (_, name: string) => match.groups?.[name]?.trim() ?? '?');
      return { message: fill(failure.message), hint: fill(failure.hint) };
    }
  }
  return null;
}
