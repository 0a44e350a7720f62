/**
 * Reads the memory lines of a vLLM or SGLang start-up log. Owns the patterns of every release seen; units are GiB even
 * where an engine prints "GB". Compares and corrects nothing: calibration.ts does.
 */

/** What a start-up log says about memory, in bytes; `null` where it does not say. */
export interface StartupLog {
  readonly engine: 'vllm' | 'sglang' | null;
  readonly version: string | null;
  readonly model: string | null;
  readonly weightsBytes: number | null;
  readonly activationBytes: number | null;
  readonly nonTorchBytes: number | null;
  readonly graphBytes: number | null;
  readonly kvPoolBytes: number | null;
  readonly kvTokens: number | null;
  readonly totalMemoryBytes: number | null;
  readonly gpuMemoryUtilization: number | null;
  readonly maxConcurrency: number | null;
}

const GIB = 2 ** 30;

function lastMatch(text: string, patterns: readonly RegExp[]): string | null {
  for (const pattern of patterns) {
    const all = [
      ...text.matchAll(new RegExp(pattern.source, `${pattern.flags.replace('g', '')}g`)),
    ];
    const value = all.at(-1)?.[1];
    if (value !== undefined) return value;
  }
  return null;
}

function numberOf(text: string | null): number | null {
  if (text === null) return null;
  const value = Number(text.replaceAll(',', ''));
  return Number.isFinite(value) ? value : null;
}

function gibOf(text: string, patterns: readonly RegExp[]): number | null {
  const value = numberOf(lastMatch(text, patterns));
  return value === null || value < 0 ? null : Math.round(value * GIB);
}

/** Keys and values of SGLang's pool, which it prints apart. */
function sglangPool(text: string): number | null {
  const keys = gibOf(text, [/K size: ([\d.]+) GB/]);
  const values = gibOf(text, [/V size: ([\d.]+) GB/]);
  return keys === null || values === null ? null : keys + values;
}

/** Reads the memory lines of a log; lines of several ranks or restarts: the last one counts. Never throws. */
export function parseStartupLog(text: string): StartupLog {
  const sglang = /sglang|avail mem=|mem_fraction_static/i.test(text);
  const vllm = /vllm|Available KV cache memory|GPU KV cache size/i.test(text);
  return {
    engine: sglang ? 'sglang' : vllm ? 'vllm' : null,
    version: lastMatch(text, [
      /LLM engine \(v([\w.+]+)\)/,
      /vLLM API server version v?([\w.+]+)/,
      /sglang[ =-]v?(\d[\w.]*)/i,
    ]),
    model: lastMatch(text, [/model='([^']+)'/, /model_path='([^']+)'/]),
    weightsBytes: gibOf(text, [
      /weights memory: ([\d.]+) ?GiB/,
      /Model loading took ([\d.]+) (?:GiB|GB)/,
      /Loading model weights took ([\d.]+) GB/,
      /model weights take ([\d.]+) ?GiB/,
      /Load weight end\.[^\n]*mem usage=([\d.]+) GB/,
    ]),
    activationBytes: gibOf(text, [
      /torch peak memory increase: ([\d.]+) ?GiB/,
      /PyTorch activation peak memory takes ([\d.]+) ?GiB/,
    ]),
    nonTorchBytes: gibOf(text, [
      /non-torch forward increase memory: ([\d.]+) ?GiB/,
      /non_torch_memory takes ([\d.]+) ?GiB/,
    ]),
    graphBytes: gibOf(text, [
      /Graph capturing finished in [^\n]*took ([\d.]+) GiB/,
      /Capture (?:cuda )?graph end\.[^\n]*mem usage=([\d.]+) GB/,
    ]),
    kvPoolBytes:
      gibOf(text, [
        /Available KV cache memory: ([\d.]+) GiB/,
        /memory reserved for KV Cache is ([\d.]+) ?GiB/,
      ]) ?? sglangPool(text),
    kvTokens: numberOf(
      lastMatch(text, [
        /GPU KV cache size: ([\d,]+) tokens/,
        /#tokens: (\d+)/,
        /max_total_num_tokens=(\d+)/,
      ]),
    ),
    totalMemoryBytes: gibOf(text, [/total_gpu_memory \(([\d.]+) ?GiB\)/]),
    gpuMemoryUtilization: numberOf(
      lastMatch(text, [
        /gpu_memory_utilization \(([\d.]+)\)/,
        /gpu_memory_utilization['"]?[=:] ?([\d.]+)/,
        /Requested memory: ([\d.]+) \(util\)/,
      ]),
    ),
    maxConcurrency: numberOf(
      lastMatch(text, [/Maximum concurrency for [\d,]+ tokens per request: ([\d.]+)x/]),
    ),
  };
}
